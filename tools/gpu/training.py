"""The part that trains: the course's pretraining, over several calls if need be, then finetuning and evaluation."""
import csv
import json
import os
import shutil

from processes import run
from report import ABSENT, FAILED, Result


def course_file(name):
    """Of the course's data, in $GRADUS_DATA/birthplace; None where it is not there."""
    path = os.path.join(os.environ.get("GRADUS_DATA", ""), "birthplace", name)
    return os.path.abspath(path) if os.environ.get("GRADUS_DATA") and os.path.isfile(path) else None


class Run:
    """The folder of a training run, which belongs to one commit: another one begins anew."""

    def __init__(self, job):
        self.folder = os.path.join(job.folder, "train")
        if self.read("commit") != job.commit:
            shutil.rmtree(self.folder, ignore_errors=True)
            os.makedirs(self.folder)
            with open(self.path("commit.json"), "w") as file:
                json.dump(job.commit, file)

    def path(self, name):
        return os.path.join(self.folder, name)

    def read(self, name):
        try:
            with open(self.path(f"{name}.json")) as file:
                return json.load(file)
        except (OSError, ValueError):
            return None

    def finished(self, name):
        """What a stage wrote, if it came to its end."""
        summary = self.read(name)
        return summary if summary and not summary.get("interrupted") else None


def epochs(metrics):
    """The last step of each epoch; a step that was taken twice, before and after a resumption, counts as the later one."""
    last = {}
    try:
        with open(metrics) as file:
            for line in file:
                try:
                    step = json.loads(line)
                except ValueError:
                    continue  # the end of a file whose writer was killed
                last[step["epoch"]] = step
    except OSError:
        pass
    return list(last.values())


def write_curve(path, steps):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["epoch", "loss of its last batch", "learning rate"])
        for step in steps:
            writer.writerow([step["epoch"], f"{step['loss']:.5f}", f"{step['lr']:.6e}"])


def stages(job, training, files):
    """Name and arguments of what runs, in order."""
    common = ["--device", "cuda", "--dtype", "bf16", "--progress", "off"]
    corpus, questions, held_out = files
    pretrained, finetuned = training.path("vanilla.pretrain.params"), training.path("vanilla.finetune.params")

    def trained(name, writing):
        return ["--writing_params_path", writing, "--metrics", training.path(f"{name}.jsonl"), "--checkpoint_seconds", "60",
                "--edition", "2023", "--seed", "0", "--resume", "--json", training.path(f"{name}.json"), *common]

    yield "pretrain", ["pretrain", "vanilla", corpus, "--padded", *trained("pretrain", pretrained)]
    yield "finetune", ["finetune", "vanilla", corpus, "--reading_params_path", pretrained, "--finetune_corpus_path", questions, "--padded",
                       *trained("finetune", finetuned)]
    yield "evaluate", ["evaluate", "vanilla", corpus, "--reading_params_path", finetuned, "--eval_corpus_path", held_out,
                       "--outputs_path", training.path("predictions"), "--json", training.path("evaluate.json"), *common]


def row_of(name, summary, steps):
    """What is known of a stage."""
    if name == "evaluate":
        return [name, "done", "", "", f"{summary['correct']} of {summary['total']} right, {summary['accuracy']:.1f} %"]
    state = "done" if not summary.get("interrupted") else "to be resumed"
    if not steps:
        return [name, state, "", "", ""]
    last = steps[-1]
    return [name, state, f"{last['step']:,}", f"{summary.get('seconds', last['seconds']):.1f}",
            f"loss {last['loss']:.5f}, epoch {last['epoch']}"]


def train(job, limit):
    """Pretraining on wiki.txt of $GRADUS_DATA in bf16, finetuning, evaluation; a second call goes on where the time was over."""
    files = [course_file(name) for name in ("wiki.txt", "birth_places_train.tsv", "birth_dev.tsv")]
    if None in files:
        return Result(ABSENT, "GRADUS_DATA names no folder with birthplace/wiki.txt, birth_places_train.tsv and birth_dev.tsv")
    result, rows, curves, training = Result(), [], [], Run(job)
    for name, arguments in stages(job, training, files):
        whole = bool(training.finished(name))
        if not whole:
            ended = run([job.gradus, *arguments], job.log(name), limit)
            whole = result.judge(f"gradus {name}", ended)
        summary, steps = training.read(name), epochs(training.path(f"{name}.jsonl"))
        if summary:
            rows.append(row_of(name, summary, steps))
            result.data[name] = summary
        elif whole:
            result.worsen(FAILED, f"gradus {name} wrote no JSON")
            whole = False
        if steps:
            curves.append((name, steps))
        if not whole:
            break
    result.table("The course's assignment, bf16:", ["stage", "", "steps", "seconds, of all calls", ""], rows)
    for name, steps in curves:
        path = f"{job.report_path}-{name}.csv"
        write_curve(path, steps)
        result.table(f"Last batches of epochs, {name}; of all epochs in [{os.path.basename(path)}]({os.path.basename(path)}):",
                     ["epoch", "loss", "learning rate"],
                     [[step["epoch"], f"{step['loss']:.5f}", f"{step['lr']:.6e}"] for step in chosen(steps)])
    return result


def chosen(steps):
    """Those of the epochs that docs/results.md lists, and the last one."""
    shown = {1, 5, 10, 20, 50, 75, 100, 200, 300, 400, 500, 650, steps[-1]["epoch"]}
    return [step for step in steps if step["epoch"] in shown]
