"""The report: one JSON file, to be completed by later calls, and its Markdown."""
import datetime
import json
import os
import re

PASSED, FAILED, CUT, ABSENT = "passed", "failed", "cut short", "not run"
SCHEMA, VERSION = "gradus.gpu-verification", 1


class Result:
    """Of one part: its status, a sentence why it is not better, tables of text, and the numbers behind them."""

    def __init__(self, status=PASSED, reason=""):
        self.status, self.reason, self.tables, self.logs, self.data = status, reason, [], [], {}

    def worsen(self, status, reason):
        """A failure outweighs a cut, a cut outweighs the rest; the first reason of the gravest stands."""
        grave = [PASSED, ABSENT, CUT, FAILED]
        if grave.index(status) > grave.index(self.status):
            self.status, self.reason = status, reason

    def table(self, title, columns, rows, folded=False):
        if rows:
            self.tables.append({"title": title, "columns": columns, "rows": [[str(cell) for cell in row] for row in rows],
                                "folded": folded})

    def log(self, title, text, lines=40):
        """The end of what a program printed."""
        kept = [line[:300] for line in text.replace("\r", "\n").strip().splitlines()[-lines:]]
        self.logs.append({"title": title, "text": "\n".join(kept) or "(nothing was printed)"})

    def judge(self, what, ended):
        """Whether a program did its work; its log is kept where it did not."""
        if ended.cut:
            self.worsen(CUT, f"{what} was ended after {ended.seconds:.0f} s: the time was over")
        elif ended.status != 0:
            how = "did not start" if ended.status is None else f"ended with status {ended.status}"
            self.worsen(FAILED, f"{what} {how}")
            self.log(f"{what}: `{' '.join(ended.command)}`", ended.output)
        return not ended.cut and ended.status == 0


class ReportError(Exception):
    pass


class Report:
    def __init__(self, folder, facts):
        gpu = re.sub(r"[^a-z0-9]+", "-", facts["GPU"].split(",")[0].lower()).strip("-")
        self.date = datetime.date.today().isoformat()
        self.path = os.path.join(folder, f"{self.date}-{gpu}")
        self.facts, self.parts = facts, {}
        self.read()

    def read(self):
        try:
            with open(self.path + ".json") as file:
                earlier = json.load(file)
        except FileNotFoundError:
            return
        except ValueError as error:
            raise ReportError(f"{self.path}.json is no JSON ({error}): move it away, or choose another folder with --out") from error
        if (earlier.get("schema"), earlier.get("version")) != (SCHEMA, VERSION):
            raise ReportError(f"{self.path}.json is not a report of this program: move it away, or choose another folder with --out")
        self.parts = earlier["parts"]

    def add(self, name, result, commit, seconds):
        """True where an earlier result stands: one of the same commit that passed, while this one is not whole."""
        earlier = self.parts.get(name)
        if earlier and earlier["status"] == PASSED and earlier["commit"] == commit and result.status in (CUT, ABSENT):
            return True
        self.parts[name] = {"status": result.status, "reason": result.reason, "commit": commit, "seconds": round(seconds, 1),
                            "ended": datetime.datetime.now().astimezone().isoformat(timespec="seconds"), "machine": self.facts,
                            "tables": result.tables, "logs": result.logs, "data": result.data}
        return False

    def write(self, order):
        os.makedirs(os.path.dirname(self.path), exist_ok=True)
        self.parts = {name: self.parts[name] for name in order if name in self.parts}
        json_text = json.dumps({"schema": SCHEMA, "version": VERSION, "date": self.date, "machine": self.facts,
                                "parts": self.parts}, indent=1)
        for suffix, text in ((".json", json_text + "\n"), (".md", self.markdown(order))):
            with open(self.path + suffix + ".new", "w") as file:
                file.write(text)
            os.replace(self.path + suffix + ".new", self.path + suffix)

    def markdown(self, order):
        lines = [f"# {self.facts['GPU']}, {self.date}", "", "Written by `tools/verify_gpu.sh`; the numbers are in the JSON file of the same name.",
                 "", *markdown_table(["", "machine"], [[name, fact] for name, fact in self.facts.items()])]
        if any(part["machine"] != self.facts for part in self.parts.values()):
            lines += ["", "Some parts ran on another machine, or before something on it changed: each part's own is in the JSON file."]
        overview = [[name, *self.overview(name)] for name in order]
        lines += ["", *markdown_table(["part", "result", "seconds", "commit", ""], overview)]
        for name, part in self.parts.items():
            lines += self.section(name, part)
        return "\n".join(lines) + "\n"

    def overview(self, name):
        part = self.parts.get(name)
        if not part:
            return [ABSENT, "", "", "no call has run it"]
        status = part["status"].upper() if part["status"] == FAILED else part["status"]
        return [status, f"{part['seconds']:.0f}", part["commit"], part["reason"]]

    @staticmethod
    def section(name, part):
        if part["tables"] or part["logs"]:
            yield from ["", f"## {name}"]
        for table in part["tables"]:
            rows = markdown_table(table["columns"], table["rows"])
            if table["folded"]:
                yield from ["", f"<details><summary>{table['title']}</summary>", "", *rows, "", "</details>"]
            else:
                yield from ["", table["title"], "", *rows]
        for log in part["logs"]:
            yield from ["", log["title"], "", "````text", log["text"], "````"]


def markdown_table(columns, rows):
    yield "| " + " | ".join(columns) + " |"
    yield "|" + "---|" * len(columns)
    for row in rows:
        yield "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in row) + " |"
