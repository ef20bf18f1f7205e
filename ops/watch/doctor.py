"""The doctor: what is at fault and what to do, from one snapshot.

`RULES` is the whole of it: a rule detects a symptom in a snapshot, and its sentence and its advice are filled with the
symptom's facts. Rules are pure and ordered: of two findings with equal severity, the first rule's comes first.
"""

from __future__ import annotations

from dataclasses import dataclass

from stream_infer.ops.watch import formatting, symptoms
from stream_infer.ops.watch.snapshot import Finding, Severity, Snapshot
from stream_infer.ops.watch.symptoms import MANY_REJECTS, SOME_REJECTS, Detector

_ORDER: dict[Severity, int] = {"bad": 0, "warn": 1, "info": 2, "well": 3}


@dataclass(frozen=True, slots=True)
class Rule:
    """One row of the table.

    Attributes:
        detect: yields the facts of each symptom; nothing if all is well.
        sentence, advice: templates for those facts.
    """

    name: str
    severity: Severity
    detect: Detector
    sentence: str
    advice: str = ""


def examine(snapshot: Snapshot) -> list[Finding]:
    """The findings, worst first; never empty."""
    findings = [
        Finding(
            rule=rule.name,
            severity=rule.severity,
            sentence=rule.sentence.format(**facts),
            advice=rule.advice.format(**facts),
        )
        for rule in RULES
        for facts in rule.detect(snapshot)
    ]
    findings.sort(key=lambda finding: _ORDER[finding.severity])
    if all(finding.severity == "info" for finding in findings):
        findings.insert(0, Finding(rule="well", severity="well", sentence=_well(snapshot)))
    return findings


def _well(snapshot: Snapshot) -> str:
    rate = snapshot.recent.records_per_second
    if rate < 0.05 and not snapshot.backlog:
        return "all is well: everything that arrived is processed, nothing waits"
    fresh = f"; the oldest waiting record is {formatting.seconds(snapshot.freshness)} old" if snapshot.freshness else ""
    return f"all is well: {formatting.number(rate)} records/s{fresh}"


RULES: tuple[Rule, ...] = (
    Rule(
        "not running",
        "bad",
        symptoms.in_state("not running"),
        "no service is running: {past}",
        "start it: stream-infer run FILE; it continues where the last one stopped",
    ),
    Rule(
        "silent",
        "bad",
        symptoms.in_state("silent"),
        "{why}",
        "its machine may be overloaded, or it may hang: look at its log and ask again; a restart loses nothing",
    ),
    Rule("stopped", "bad", symptoms.stopped, "the service has stopped", "start it again: nothing is lost"),
    Rule(
        "circuit breaker",
        "bad",
        symptoms.circuit_breaker,
        "the circuit breaker is open because everything fails: {why}",
        "correct the model or preprocess, then start the service again: it processes what was not rejected",
    ),
    Rule(
        "source stopped",
        "bad",
        symptoms.source_stopped,
        "source {source} stopped: {why}",
        "do what it says and start the service again; the other sources continue",
    ),
    Rule(
        "conservation",
        "bad",
        symptoms.unaccounted,
        "{records} were read and are neither row, reject nor loss: a defect",
        "run `stream-infer audit FILE` and report what it finds",
    ),
    Rule(
        "ledger unavailable",
        "bad",
        symptoms.ledger_unavailable,
        "commits wait for the ledger: {why}",
        "check the database; work continues until the in-flight limit is reached, and nothing is lost",
    ),
    Rule(
        "execution failed",
        "bad",
        symptoms.in_state("waiting"),
        "the execution failed and will be started again: {why}",
        "if it fails again: the log has the whole error; look at the memory and the nodes of the cluster",
    ),
    Rule(
        "slow start",
        "bad",
        symptoms.slow_start,
        "the service has been {state} for {age} and processes no record yet",
        "the model loads slowly, or the cluster has no free resources: compare model.gpus, model.cpus and replicas.min with what "
        "Ray has free; the log says more",
    ),
    Rule(
        "stage stalled",
        "bad",
        symptoms.stage_stalled,
        "{stage} waits for {outside}: {why}",
        "it is retried without limit and nothing is lost: check {outside} and the network to it",
    ),
    Rule(
        "commits stalled",
        "bad",
        symptoms.commits_stalled,
        "commits wait for {outside}: {why}",
        "it is retried without limit and nothing is lost",
    ),
    Rule(
        "source stalled",
        "bad",
        symptoms.source_stalled,
        "source {source} finds no new work because it waits for {outside}: {why}",
        "it is retried without limit and nothing is lost: check {outside} and the network to it",
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
        "see their reasons below or with `stream-infer rejects FILE list`; correct the cause, then replay them",
    ),
    Rule(
        "losses",
        "bad",
        symptoms.losses,
        "{records} of {sources} expired or were deleted before they could be read: named losses",
        "lengthen the retention of the topic, or keep objects until they are committed",
    ),
    Rule(
        "stage fails",
        "warn",
        symptoms.stage_fails,
        "{stage} waits for {outside} at times: {share} of its tries within the last minute failed",
        "each try is repeated and nothing is lost, but it costs time: check {outside} and the network to it",
    ),
    Rule(
        "workers ended",
        "warn",
        symptoms.worker_deaths,
        "{workers} ended while working within the last minute: in {stage} one {cause}",
        "their splits are tried again, and a record that causes it is found and rejected; if it continues, look at the memory of "
        "the nodes and at the model",
    ),
    Rule(
        "slow ledger",
        "warn",
        symptoms.slow_ledger,
        "ledger commits take {time}",
        "give the ledger a faster disk or database; do not keep SQLite on a network file system",
    ),
    Rule(
        "read is slow for the gpu",
        "warn",
        symptoms.gpu_starves,
        "the GPU is only {gpu} busy because read is the bottleneck ({busy} busy)",
        "give read more CPUs: add cores to the cluster, or make preprocess and decode cheaper",
    ),
    Rule(
        "infer is slow",
        "warn",
        symptoms.busy("infer"),
        "infer is {busy} busy{blocked}{behind}",
        "add replicas (model.replicas.max), a faster device, or a smaller model{more}",
    ),
    Rule(
        "read is slow",
        "warn",
        symptoms.busy("read"),
        "read is {busy} busy{blocked}{behind}",
        "fetching or decoding takes the time: add CPUs to the cluster, or move the data closer",
    ),
    Rule(
        "write is slow",
        "warn",
        symptoms.busy("write"),
        "write is {busy} busy{blocked}{behind}",
        "the sink is slow: look at its store; fewer and bigger files help (limits.freshness)",
    ),
    Rule(
        "pool is busy",
        "warn",
        symptoms.pool_is_busy,
        "all actors are {busy} busy, mostly with {stage}{behind}",
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
        "this instance is on standby: {owner} owns the ledger",
        "it takes over when that instance ends",
    ),
    Rule(
        "starting",
        "warn",
        symptoms.starting,
        "the service is {state} and processes no record yet",
        "wait: loading a model takes time",
    ),
    Rule(
        "draining",
        "warn",
        symptoms.in_state("draining"),
        "the service drains: it finishes the work in flight and plans no new work",
    ),
    Rule(
        "producer stopped",
        "info",
        symptoms.quiet("kafka"),
        "no new offsets on {source} since {since}: the producer stopped, or has nothing to send",
    ),
    Rule("no new objects", "info", symptoms.quiet("files"), "no new objects in {source} since {since}"),
)
