#!/usr/bin/env bash
# The HTTP wire by hand: examples/curl.sh [ADDRESS]
set -euo pipefail
url="http://${1:-127.0.0.1:3000}"

# Refusals are JSON too: `--fail-with-body` shows them and fails. 429 and 503 say when to come again
# (`Retry-After`), and `--retry` obeys.
call() { curl --silent --show-error --fail-with-body --retry 3 --max-time 30 "$@"; }
say() { printf '\n# %s\n' "$1"; }

say "ready"
call --output /dev/null --write-out '%{http_code}\n' "$url/v2/health/ready"

say "metadata"
call "$url/v2/models/parcel_router"

say "JSON"
call "$url/v2/models/parcel_router/infer" --header 'X-Request-Timeout-Ms: 5000' --json '{
  "id": "parcel-17",
  "inputs": [
    {"name": "destination", "datatype": "BYTES", "shape": [2, 1], "data": ["DE", "IS"]},
    {"name": "weight_kg", "datatype": "FP32", "shape": [2, 1], "data": [2.5, 2.5]}
  ],
  "outputs": [{"name": "route"}]
}'

say "binary: a head in JSON, and the tensor as it lies in memory, little-endian"
head='{"inputs": [{"name": "image", "datatype": "FP32", "shape": [1, 1, 8, 8],
  "parameters": {"binary_data_size": 256}}], "outputs": [{"name": "logits"}]}'
paper='\0\0\0\0' ink='\0\0\x80\x3f' # 0.0 and 1.0
row="$paper$paper$paper$ink$ink$paper$paper$paper"
{
  printf '%s' "$head"
  for _ in {1..8}; do printf '%b' "$row"; done
} | call "$url/v2/models/digits/infer" --data-binary @- \
  --header 'Content-Type: application/octet-stream' \
  --header "Inference-Header-Content-Length: ${#head}"

say "a file's type"
call --form "file=@$0" "$url/identify"

say "load: the key as a bearer token, or, where the gateway has none, from its own machine"
call --request POST "$url/v2/repository/models/digits/load" --write-out '%{http_code}\n' \
  ${LUPINE_ADMIN_KEY:+--header "Authorization: Bearer $LUPINE_ADMIN_KEY"}

say "metrics"
call "$url/metrics" | grep '^lupine_request_duration_seconds_count'
