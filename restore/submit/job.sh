#!/bin/bash -l
# Trains model_zoo/@@name in jobs of @@time each, one after another, until the run is complete.
#
# @@reserve s before a job's time is over its training is asked to end (SIGTERM): it saves its state, and this script
# queues itself again. It does not where the training fails, nor where a job got no further than the one before.
# Begin, and go on after a failure:  @@command @@folder/job.sh
# Logs of the jobs: @@folder/<job>.log. What the run says: model_zoo/@@name/log.txt

@@scheduler

cd @@workplace || exit 1
@@modules
export TORCH_ELASTIC_SHUTDOWN_TIMEOUT=@@grace  # how long torchrun waits for its processes to save [s]

script=@@folder/job.sh
run=model_zoo/@@name
limit=@@limit  # seconds from the job's beginning to SIGTERM

reached() {  # the last iteration that is saved
    tail -n 1 "$run/curves.csv" 2>/dev/null | cut -d , -f 1
}

if [ -e "$run/state.pth" ]; then
    training=(--resume "$run")
else
    training=(-opt @@folder/options.json --run-name @@name)
fi
before=$(reached)

train "${training[@]}"
status=$?

if [ $status -eq 0 ]; then
    echo "$run is complete"
elif [ $SECONDS -lt $limit ]; then
    echo "the training failed with exit status $status, and is not queued again"
elif [ "$(reached)" = "$before" ]; then
    echo "this job got no further than iteration ${before:-0}, and is not queued again; give it more time"
    status=1
else
    echo "out of time, as torchrun says above in its manner; the state is saved, and $run goes on in another job"
    @@command "$script"
    status=$?
fi
exit $status
