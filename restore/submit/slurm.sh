#SBATCH --job-name=restore_@@name
#SBATCH --nodes=@@nodes
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=@@cpus
#SBATCH --time=@@time
#SBATCH --output=@@folder/%j.log
#SBATCH --open-mode=append
#SBATCH --requeue
@@requests

# This script runs on the first of the nodes, where the processes meet. timeout stands behind srun: srun itself would
# answer SIGTERM by killing the processes at once.
train() {
    srun --ntasks-per-node=1 --cpus-per-task=@@cpus --kill-on-bad-exit=1 \
        @@{container}timeout --foreground --signal=TERM --kill-after=@@grace $((limit - SECONDS)) \
        @@python -m torch.distributed.run --nnodes=@@nodes --nproc-per-node=@@processes --rdzv-id="$SLURM_JOB_ID" \
        --rdzv-backend=c10d --rdzv-endpoint="$(hostname):$((20000 + SLURM_JOB_ID % 10000))" \
        -m restore.train "$@"
}
