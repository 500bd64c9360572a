"""What the public evaluator of ConvFinQA makes of random programs: writes test/fixtures/programs.json.

    python programs.py CONVFINQA/code/utils      (a copy of https://github.com/czyssrs/ConvFinQA; needs sympy, numpy)

Most programs are well formed, some are broken on purpose: unknown rows and operations, steps that refer forwards, cells that are
no numbers, divisions by zero, steps that were cut off.
"""

import json
import random
import sys
from pathlib import Path

sys.path.insert(0, sys.argv[1])
from general_utils import equal_program, eval_program, program_tokenization  # noqa: E402

random.seed(3)
TABLE = [
    ["( in thousands )", "2009", "2008", "2007"],
    ["net income", "$ 206588", "$ 181001", "$ 174247"],
    ["change", "-97 ( 97 )", "12.5", "-3 ( 3 )"],
    ["rate", "12.5%", "3%", "-4%"],
    ["text", "high", "low", "5"],
    ["gap", "1", "-", "5"],
    ["negative", "( 5 )", "7", "8"],
    ["twice", "1", "2", "3"],
    ["twice", "1,000", "2,000.5", ".5"],
    ["empty"],
    ["loss (income)", "1", "2", "3"],
]
ROWS = [row[0] for row in TABLE[1:]] + ["nowhere", "Net income"]
NUMBERS = ["206588", "181001", "1,234.5", "12%", "-4.5%", ".5", "0", "3", "7", "-8", "2.675", "0.015625", "1e3", "const_100",
           "const_m1", "const_2", "const_1000000", "1e300", "5e-324", "1_000", "inf", "$5", "abc", "const_x", "%", "--3"]
SANE = NUMBERS[:17]
OPERATIONS = ["add", "subtract", "multiply", "divide", "exp", "greater"]


def argument(step, wild):
    if step > 0 and random.random() < 0.5:
        return f"#{random.randrange(step)}"
    if wild and random.random() < 0.1:
        return random.choice(["#7", f"#{step}", "#x", "#-1"])
    return random.choice(NUMBERS if wild else SANE)


def program(wild):
    if random.random() < 0.06:
        return random.choice(NUMBERS if wild else SANE)
    steps = []
    for step in range(random.randint(1, 4)):
        if random.random() < 0.25:
            name = random.choice(ROWS if wild else ["net income", "change", "rate", "twice"])
            steps.append(f"table_{random.choice(['max', 'min', 'sum', 'average'])}({name}, none)")
        else:
            steps.append(f"{random.choice(OPERATIONS)}({argument(step, wild)}, {argument(step, wild)})")
    text = ", ".join(steps)
    if wild and random.random() < 0.15:
        text = random.choice([text[:-1], text + ", add(3", text.replace("(", "", 1), text.replace(", ", ",", 1), text + ")",
                              text.replace("add", "plus"), "", text.replace("(", "((", 1)])
    return text


def runs():
    found = []
    for i in range(500):
        text = program(wild=i % 2 == 1)
        invalid, answer = eval_program(program_tokenization(text), TABLE)
        if invalid:
            answer = "n/a"
        if isinstance(answer, float) and (answer != answer or answer in (float("inf"), float("-inf"))):
            answer = str(answer)
        found.append([text, answer])
    return found


def shuffled(steps_text):
    """The same program, or one that is nearly the same."""
    tokens = program_tokenization(steps_text)[:-1]
    at = 4 * random.randrange(len(tokens) // 4)
    kind = random.random()
    if kind < 0.5:
        tokens[at + 1], tokens[at + 2] = tokens[at + 2], tokens[at + 1]
    elif kind < 0.7:
        tokens[at] = random.choice(OPERATIONS[:4]) + "("
    return tokens


def pairs():
    found = []
    names = ["3", "7", "const_2", "181001"]
    while len(found) < 150:
        steps = []
        for step in range(random.randint(1, 4)):
            a, b = ([f"#{step - 1}"] if step else [random.choice(names)]) + [random.choice(names)]
            steps.append(f"{random.choice(OPERATIONS[:4])}({a}, {b})")
        gold = ", ".join(steps)
        given = shuffled(gold)
        found.append([gold, given, bool(equal_program(program_tokenization(gold), [*given, "EOF"]))])
    written = [
        ("add(3, 7), divide(#0, 3)", "divide(3, 3), divide(7, 3), add(#0, #1)"),
        ("subtract(3, 7), divide(#0, 7)", "divide(3, 7), divide(7, 7), subtract(#0, #1)"),
        ("multiply(3, const_2)", "add(3, 3)"),
        ("divide(3, 7), multiply(#0, const_2)", "divide(7, 3), divide(const_2, #0)"),
        ("exp(3, 7)", "exp(7, 3)"),
        ("exp(3, 7)", "exp(3, 7)"),
        ("greater(3, 7)", "greater(7, 3)"),
        ("greater(3, 7)", "greater(3, 7)"),
        ("table_sum(net income, none)", "table_sum(net income, none)"),
        ("table_sum(net income, none)", "table_max(net income, none)"),
        ("3", "3"),
        ("3", "3.0"),
        ("3", "add(3, 3)"),
        ("add(3, 3)", "3"),
        ("add(3, 7)", "add(3, 8)"),
        ("add(3, 7)", "add(3, #0)"),
        ("add(3, 7)", "add(3, 7), add(#0, 7)"),
        ("add(3, 7)", "subtract(3, 3), add(3, 7)"),
        ("add(3, 7)", "subtract(8, 8), add(3, 7), add(#0, #1)"),
    ]
    for gold, given in written:
        tokens = program_tokenization(given)
        found.append([gold, tokens[:-1], bool(equal_program(program_tokenization(gold), tokens))])
    return found


fixture = {"table": TABLE, "runs": runs(), "pairs": pairs()}
path = Path(__file__).parent.parent / "fixtures" / "programs.json"
path.write_text(json.dumps(fixture) + "\n")
