#!/usr/bin/env bash
# The image of the service where there is no container engine: the commands of docker/Dockerfile,
# into build/service, and the service from there as in the container, as user 65534 on a file system
# that cannot be written. Prints sizes and an answer. As root, from the root of the checkout:
#
#     bash docker/service_as_folder.sh RECORDING [BUNDLE]
#
# TORCH is what pip is asked for first, so that it is a torch without CUDA, as in the image:
# "torch --index-url https://download.pytorch.org/whl/cpu", or a wheel. PYTHON is an interpreter that
# every user may run.
set -euo pipefail
recording=$(realpath "$1") bundle=$(realpath "${2:-models/valence-acted}")
folder=$(realpath -m build/service)

if [ ! -x "$folder/bin/speechsent" ]; then
    "${PYTHON:-python3}" -m venv "$folder"
    # shellcheck disable=SC2086  # several words
    "$folder/bin/pip" install --quiet --no-cache-dir ${TORCH:-torch}
    "$folder/bin/pip" install --quiet --no-cache-dir ".[${EXTRAS:-serve}]"
fi
echo "MB of the folder: $(du -sm "$folder" | cut -f1), of which torch: $(du -sm "$folder"/lib/python*/site-packages/torch | cut -f1)"

export folder bundle recording
unshare --mount --fork --kill-child bash -euo pipefail <<'INSIDE'
mount -o remount,bind,ro /
clean=(env -i PATH="$folder/bin:/usr/bin:/bin" PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
    OMP_NUM_THREADS=1 HOME=/nonexistent SPEECHSENT_TOKEN=token)
nobody=(setpriv --reuid 65534 --regid 65534 --clear-groups --bounding-set=-all --no-new-privs)
"${nobody[@]}" "$folder/bin/python" -c "" || exit
for path in / /tmp /var/tmp /dev/shm; do
    "${nobody[@]}" sh -c "echo >$path/written" 2>/dev/null && echo "$path can be written"
done
"${clean[@]}" "${nobody[@]}" speechsent serve --host 0.0.0.0 --port 8000 --workers 1 "$bundle" &
service=$!
ask() {
    "$folder/bin/python" - "$@" <<'ASK'
import json, sys, urllib.request, base64
url, recording = "http://127.0.0.1:8000", sys.argv[1]
body = json.dumps({"audio": base64.b64encode(open(recording, "rb").read()).decode()}).encode()
headers = {"Authorization": "Bearer token", "Content-Type": "application/json"}
request = urllib.request.Request(url + "/v1/score", body, headers)
print("answer:", urllib.request.urlopen(request, timeout=60).read().decode())
ASK
}
for _ in $(seq 120); do
    sleep 1
    "$folder/bin/python" -c "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/readyz')" 2>/dev/null && break
done
ask "$recording"
echo "memory of its processes, MB (proportional): $(
    for pid in $service $(pgrep -P $service); do grep ^Pss: /proc/$pid/smaps_rollup; done |
        awk '{ sum += $2 } END { print int(sum / 1024) }')"
echo "user of its processes: $(ps -o uid= -p $service | tr -d ' ')"
kill $service
wait $service || echo "exit code after SIGTERM: $?"
INSIDE
