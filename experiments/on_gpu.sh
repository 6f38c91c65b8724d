#!/usr/bin/env bash
# Tests and networks that one CUDA device takes minutes for, in two lanes, most wanted first:
#
#     bash experiments/on_gpu.sh OUT [PROCESSES]
#
# Every result lies in OUT as soon as it exists, and the same call resumes. With NVIDIA's MPS daemon
# running, as many PROCESSES (per lane) as half of the cores share the device.
set -uo pipefail
out=$1 processes=${2:-8}
export OMP_NUM_THREADS=1
mkdir -p "$out"

step() {  # name, command and its arguments
    local name=$1 started=$SECONDS
    shift
    "$@" >"$out/$name.log" 2>&1
    echo "$name: exit code $?, $((SECONDS - started)) s" | tee -a "$out/steps.txt"
}
table1() {  # name, rows, further options
    step "$1" python3 -m experiments.table1 --device cuda --processes "$processes" \
        --memory "$out/features" --out "$out/$1.json" --rows "$2" "${@:3}"
}
paper="2/2SREx-SEResNet-16 + C + R;1/2SREx-SEResNet-16 + C + R;1/2SREx-SEResNet-16 + R"
paper+=";1/2SREx-SEResNet-16 + C;1/2SREx-SEResNet-34 + SpE + C"

finetuned_then_the_rest() {
    table1 finetuned "constant (median);finetuned;finetuned, perturbed"
    for seed in 1 2; do
        table1 "finetuned_seed$seed" "finetuned;finetuned, perturbed" --folds 4 --seed "$seed"
    done
    table1 rivals "TFN acoustic;MulT audio;ICCN audio" --folds 4 --epochs 30
    step ablations python3 -m experiments.ablations --device cuda --processes "$processes" \
        --seeds 3 --folds 3 --epochs 20 --memory "$out/features" --out "$out/ablations.json"
}
systems_of_the_paper() {
    table1 paper_as_they_are "$paper" --folds 4 --epochs 30 --exponent 0
    table1 paper_alike "$paper" --folds 4 --epochs 30
}

step tests python3 -m pytest -q -p no:benchmark -o filterwarnings=default -m gpu tests/gpu &
finetuned_then_the_rest &
systems_of_the_paper &
wait
step speed python3 -m benchmarks.speed.gpu --out "$out/speed_gpu.json"
