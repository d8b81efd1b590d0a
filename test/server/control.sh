#!/bin/sh
# A test suite in a shell: curl drives a fault at the server. Needs CONTROL_URL, CONTROL_TOKEN and OBJECT_URL (a
# presigned URL of the object a.log). Each step prints what the next one relies on.
set -eu

control() {
  method=$1 path=$2
  shift 2
  curl --silent --show-error --fail-with-body --request "$method" \
    --header "Authorization: Bearer $CONTROL_TOKEN" "$@" "$CONTROL_URL$path"
}

control POST /faults --data '{ "kind": "status", "status": 503, "code": "ServiceUnavailable", "on": "get",
  "headers": { "Retry-After": "1" } }' >/dev/null
echo "waiting: $(control GET /faults | grep -c '"kind"')"
echo "first: $(curl --silent --output /dev/null --write-out '%{http_code} %header{retry-after}' "$OBJECT_URL")"
echo "second: $(curl --silent --write-out ' %{http_code}' "$OBJECT_URL")"
control GET /faults
echo "requests: $(control GET /requests | grep -c '"requestId"')"
control POST /faults --data '{ "kind": "reset", "when": "after", "on": "get", "times": "Infinity" }' >/dev/null
echo "reset: $(curl --silent --output /dev/null "$OBJECT_URL" || echo "curl failed with $?")"
control DELETE /faults >/dev/null
echo "cleared: $(curl --silent "$OBJECT_URL")"
control POST /reset >/dev/null
echo "gone: $(curl --silent --output /dev/null --write-out '%{http_code}' "$OBJECT_URL")"
