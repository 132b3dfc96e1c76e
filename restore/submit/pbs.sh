#PBS -S /bin/bash
#PBS -N restore_@@name
#PBS -l select=1:ncpus=@@cpus@@devices
#PBS -l walltime=@@time
#PBS -j oe
#PBS -o @@folder/
#PBS -r y
@@requests

exec >>@@workplace/"@@folder/$PBS_JOBID.log" 2>&1  # at once; PBS itself would write it when the job has ended

train() {
    @@{container}timeout --foreground --signal=TERM --kill-after=@@grace $((limit - SECONDS)) \
        @@python -m torch.distributed.run --standalone --nproc-per-node=@@processes \
        -m restore.train "$@"
}
