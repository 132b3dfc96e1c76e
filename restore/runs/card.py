"""The model's card: what a run trains, on what, and with which software, in a few lines."""

import json

from restore.runs.information import software_versions
from restore.training.assembly import Parts, count_parameters
from restore.training.option_file import TrainingOptions


def model_card(options: TrainingOptions, parts: Parts) -> dict[str, str]:
    """The text under each heading."""
    trainer, batches, validation, timetable = parts.trainer, parts.batches, parts.validation, parts.timetable
    generator, optimizer, scheduler = options.generator, options.optimizer, options.scheduler
    terms = (f"{name}: {term.class_name}, weight {term.weight:g}" for name, term in options.losses.items())
    crops = ", then ".join(f"{stage.batch_size}" for stage in batches.stages)
    return {
        "name": options.name,
        "architecture": f"{generator.class_name}, stages {json.dumps(generator.stages)}",
        "parameters": f"{count_parameters(trainer.generator):,}",
        "begun with": options.pretrained_model or "random weights",
        "trained on": f"{len(batches.samples):,} photographs: {', '.join(map(str, options.training_path))}",
        "validated on": f"{len(validation.samples):,} photographs: {', '.join(map(str, options.testing_path))}",
        "losses": "; ".join(terms),
        "updates": f"{timetable.last:,}, each of {crops} crops",
        "optimizer": f"{optimizer.class_name}, {optimizer.initial_learning_rate:g}, {scheduler.class_name}",
        "precision": trainer.precision.why,
        "device": str(trainer.device),
        "software": ", ".join(f"{name} {version}" for name, version in software_versions().items()),
    }
