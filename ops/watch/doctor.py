"""The doctor: who is guilty and what to do, from one snapshot.

`RULES` is the whole of it: a rule looks at a snapshot and gives the facts of each thing it sees; its sentence and its
advice are filled with them. Rules are pure and ordered: of equal severity, what stands first is told first.
"""

from __future__ import annotations

from dataclasses import dataclass

from stream_infer.ops.watch import formatting, symptoms
from stream_infer.ops.watch.snapshot import Finding, Severity, Snapshot
from stream_infer.ops.watch.symptoms import MANY_REJECTS, SOME_REJECTS, Sees

_ORDER: dict[Severity, int] = {"bad": 0, "warn": 1, "info": 2, "well": 3}


@dataclass(frozen=True, slots=True)
class Rule:
    """One row of the table.

    Attributes:
        sees: the facts of each thing the rule finds; nothing where all is well.
        sentence / advice: filled with those facts.
    """

    name: str
    severity: Severity
    sees: Sees
    sentence: str
    advice: str = ""


def examine(snapshot: Snapshot) -> list[Finding]:
    """What there is to say, worst first; never empty."""
    found = [
        Finding(
            rule=rule.name,
            severity=rule.severity,
            sentence=rule.sentence.format(**facts),
            advice=rule.advice.format(**facts),
        )
        for rule in RULES
        for facts in rule.sees(snapshot)
    ]
    found.sort(key=lambda finding: _ORDER[finding.severity])
    if all(finding.severity == "info" for finding in found):
        found.insert(0, Finding(rule="well", severity="well", sentence=_well(snapshot)))
    return found


def _well(snapshot: Snapshot) -> str:
    rate = snapshot.recent.records_per_second
    if rate < 0.05 and not snapshot.backlog:
        return "all is well: everything that arrived is done, nothing waits"
    fresh = f"; the oldest that waits is {formatting.seconds(snapshot.freshness)} old" if snapshot.freshness else ""
    return f"all is well: {formatting.number(rate)} records/s{fresh}"


RULES: tuple[Rule, ...] = (
    Rule(
        "not running",
        "bad",
        symptoms.in_state("not running"),
        "no service runs: {past}",
        "start it: stream-infer run FILE; it goes on where the last one stopped",
    ),
    Rule(
        "silent",
        "bad",
        symptoms.in_state("silent"),
        "{why}",
        "its machine may be overloaded, or it hangs: look at its log and ask again; a restart loses nothing",
    ),
    Rule("stopped", "bad", symptoms.stopped, "the service has stopped", "start it again: nothing is lost"),
    Rule(
        "circuit breaker",
        "bad",
        symptoms.circuit_breaker,
        "the line stands because everything fails: {why}",
        "put right the model or preprocess, then start the service again; what was held back is done then",
    ),
    Rule(
        "source stopped",
        "bad",
        symptoms.source_stopped,
        "source {source} stopped: {why}",
        "do what it says and start the service again; the other sources go on meanwhile",
    ),
    Rule(
        "conservation",
        "bad",
        symptoms.unaccounted,
        "{records} were read and are neither row, reject nor loss: a defect",
        "run `stream-infer audit FILE` and report what it finds",
    ),
    Rule(
        "ledger away",
        "bad",
        symptoms.ledger_away,
        "commits wait for the ledger: {why}",
        "look after the database; work goes on until in-flight is full, nothing is lost",
    ),
    Rule(
        "execution fell",
        "bad",
        symptoms.in_state("waiting"),
        "the execution failed and will be started again: {why}",
        "if it comes back: the log has the whole error; look at the memory and the nodes of the cluster",
    ),
    Rule(
        "slow start",
        "bad",
        symptoms.starts_slowly,
        "the service has been {state} for {age}: no record moves",
        "the model loads slowly, or the cluster has no room: hold model.gpus, model.cpus and replicas.min against what Ray has "
        "free; the log says more",
    ),
    Rule(
        "stage waits",
        "bad",
        symptoms.stage_waits,
        "{stage} waits for {outside}: {why}",
        "it is tried again without end and nothing is lost: look after {outside} and the network to it",
    ),
    Rule(
        "commit waits",
        "bad",
        symptoms.commit_waits,
        "commits wait for {outside}: {why}",
        "it is tried again without end and nothing is lost",
    ),
    Rule(
        "source waits",
        "bad",
        symptoms.source_waits,
        "source {source} finds no new work, it waits for {outside}: {why}",
        "it is tried again without end and nothing is lost: look after {outside} and the network to it",
    ),
    Rule(
        "stuck",
        "bad",
        symptoms.stuck,
        "nothing was committed for {age} while {splits} are in flight",
        "{stage} may hang: look at its log, or at the model's time for one record",
    ),
    Rule(
        "many rejects",
        "bad",
        symptoms.rejects(MANY_REJECTS, 2.0),
        "rejects are {share} of the last minute's records{what}",
        "see their reasons below or with `stream-infer rejects FILE list`; put right what makes them, then replay",
    ),
    Rule(
        "losses",
        "bad",
        symptoms.losses,
        "{records} of {sources} were gone before they could be read: named losses",
        "lengthen the retention of the topic, or keep objects until they are committed",
    ),
    Rule(
        "stage fails",
        "warn",
        symptoms.stage_fails,
        "{stage} waits for {outside} at times: {share} of its tries within the last minute failed",
        "each is made again and nothing is lost, but it takes its time: look after {outside} and the network to it",
    ),
    Rule(
        "workers die",
        "warn",
        symptoms.deaths,
        "{workers} ended at work within the last minute: in {stage} one {fate}",
        "what they had is tried again, and a record that does this is found and rejected; if it goes on, look at the memory of "
        "the nodes and at the model",
    ),
    Rule(
        "slow ledger",
        "warn",
        symptoms.slow_ledger,
        "ledger commits take {time}",
        "give the ledger a faster disk or database; a network file system is no place for SQLite",
    ),
    Rule(
        "read is slow for the gpu",
        "warn",
        symptoms.gpu_starves,
        "the GPU is {gpu} busy because read is the bottleneck ({busy} busy)",
        "give read more CPUs: add cores to the cluster, or make preprocess and decode cheaper",
    ),
    Rule(
        "infer is slow",
        "warn",
        symptoms.busy("infer"),
        "infer is busy {busy}{blocked}{behind}",
        "add replicas (model.replicas.max), a faster device, or a smaller model{more}",
    ),
    Rule(
        "read is slow",
        "warn",
        symptoms.busy("read"),
        "read is busy {busy}{blocked}{behind}",
        "read is held up by fetching or decoding: add CPUs to the cluster, or bring the data nearer",
    ),
    Rule(
        "write is slow",
        "warn",
        symptoms.busy("write"),
        "write is busy {busy}{blocked}{behind}",
        "the sink is slow: look at its store; fewer and bigger files help (limits.freshness)",
    ),
    Rule(
        "pool is full",
        "warn",
        symptoms.pool_is_full,
        "all actors are busy {busy}, most of all with {stage}{behind}",
        "add CPUs to the cluster, raise model.replicas.max, or make {stage} cheaper",
    ),
    Rule(
        "some rejects",
        "warn",
        symptoms.rejects(SOME_REJECTS, MANY_REJECTS),
        "{records} were rejected within the last minute, {share} of all{what}",
        "see their reasons below or with `stream-infer rejects FILE list`",
    ),
    Rule(
        "standby",
        "info",
        symptoms.in_state("standby"),
        "this instance stands by: {owner} has the ledger",
        "it takes over when that one ends",
    ),
    Rule(
        "starting",
        "warn",
        symptoms.starts,
        "the service is {state}: no record moves yet",
        "wait: loading a model takes its time",
    ),
    Rule(
        "draining",
        "warn",
        symptoms.in_state("draining"),
        "the service drains: it finishes what is in flight and plans no more",
    ),
    Rule(
        "producer stopped",
        "info",
        symptoms.quiet("kafka"),
        "no new offsets on {source} since {since}: the producer stopped, or has nothing to say",
    ),
    Rule("no new objects", "info", symptoms.quiet("files"), "no new objects in {source} since {since}"),
)
