#!/usr/bin/env bash
# s3fs: beside boto3 a resolver silently takes the release of 2020, or today's, by the order of two lines.
#
# Version:  s3fs up to 2026.9.0, boto3 up to 1.44.5, aiobotocore up to 3.10.0, resolved by uv 0.13.9
# Expected: the requirements `boto3` and `s3fs` give recent releases of both, in either order; or a conflict is reported.
# Seen:     `boto3` before `s3fs` gives the newest boto3 with s3fs 0.4.2 of 2020. `s3fs` before `boto3` gives s3fs 2026.9.0.
#           No warning either way. s3fs since 0.5 needs aiobotocore, which allows a few releases of botocore only, all older than
#           the newest boto3 needs; 0.4.2 has no upper limit, so it fits every botocore to come.
# Here:     pyproject.toml asks for `s3fs>=2026`, which turns the silent choice into one of an older boto3.
#
# Exit: 0 while it is so, 1 when it has changed. Other versions: S3FS=2027.1.0 BOTO3=1.45.0 AIOBOTOCORE=3.11.0 UV=0.14.0 before it.
set -euo pipefail

S3FS="${S3FS:-2026.9.0}"
BOTO3="${BOTO3:-1.44.5}"
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT

"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "uv==${UV:-0.13.9}"
printf '%s\n' "s3fs<=$S3FS" "boto3<=$BOTO3" "aiobotocore<=${AIOBOTOCORE:-3.10.0}" > "$folder/newest.txt"

# resolved LINE...: the versions of boto3 and s3fs that the resolver takes for these requirements, and what it says of them
resolved() {
    printf '%s\n' "$@" > "$folder/requirements.in"
    "$folder/venv/bin/uv" pip compile --python "$folder/venv/bin/python" --python-version 3.11 --no-header --no-annotate \
        --constraint "$folder/newest.txt" "$folder/requirements.in" > "$folder/locked.txt" 2> "$folder/messages" \
        || echo "not resolved: $(tail -3 "$folder/messages")"
    { grep -E '^(boto3|s3fs)==' "$folder/locked.txt"; grep -E 'boto3|s3fs' "$folder/messages"; } | xargs || true
}

boto3_first="$(resolved boto3 s3fs)"
s3fs_first="$(resolved s3fs boto3)"
with_floor="$(resolved boto3 's3fs>=2026')"

echo "requirements boto3 (up to $BOTO3) and s3fs (up to $S3FS)"
echo "  expected: recent releases of both in either order, or a warning"
echo "  seen, boto3 before s3fs:       $boto3_first"
echo "  seen, s3fs before boto3:       $s3fs_first"
echo "  control, boto3 and s3fs>=2026: $with_floor"

if [ "$boto3_first" = "boto3==$BOTO3 s3fs==0.4.2" ] && [[ "$s3fs_first" =~ ^boto3==[0-9.]+\ s3fs==$S3FS$ ]] \
    && [ "$with_floor" = "$s3fs_first" ]; then
    echo "AS DESCRIBED"
else
    echo "CHANGED"
    exit 1
fi
