"""Some hundred and fifty submissions, clumsy and hostile, to the sample chapter's exercise 1.2.

CLUMSY are right; WRONG, and all of HOSTILE, are not. Each is the code cells below the task, up to
the check.
"""

RIGHT = "def double(x):\n    return 2 * x"
NO = "def double(x):\n    return 7"
YES = "✓ Exercise 1.2: twice."

CLUMSY = {
    "a warning in the answer": [f"import warnings\nwarnings.warn('careful')\n{RIGHT}"],
    "a warning at each call": [
        "import warnings\ndef double(x):\n    warnings.warn('careful')\n    return 2 * x"
    ],
    "a progress bar": [f"from tqdm import tqdm\nfor _ in tqdm(range(3)): pass\n{RIGHT}"],
    "a progress bar in the function": [
        "from tqdm import tqdm\ndef double(x):\n    return sum(x for _ in tqdm(range(2)))"
    ],
    "text on stderr": [f"import sys\nprint('✗ Exercise 1.2: no.', file=sys.stderr)\n{RIGHT}"],
    "text on stdout": [f"print('✗ Exercise 1.2: not solved yet.')\n{RIGHT}"],
    "text at each call": ["def double(x):\n    print('double', x)\n    return 2 * x"],
    "a line like another check's": [
        "def double(x):\n    print('✗ Exercise 1.1: no')\n    return 2*x"
    ],
    "text without an end": ["def double(x):\n    print('half', end='')\n    return 2 * x"],
    "megabytes of text": [f"print('x' * 5_000_000)\n{RIGHT}"],
    "a logger": [f"import logging\nlogging.basicConfig()\nlogging.warning('hm')\n{RIGHT}"],
    "a scratch cell above": ["1 + 1", RIGHT],
    "a scratch cell that fails": ["1 / 0", RIGHT],
    "a scratch cell that can't be read": ["def (", RIGHT],
    "a cell that fails below": [RIGHT, "double()"],
    "a helper in a cell above": ["def twice(x):\n    return x + x", "double = twice"],
    "a helper in a cell below": ["def double(x):\n    return twice(x)", "def twice(x): return 2*x"],
    "a helper below a first try": [NO, RIGHT],
    "an empty cell above": ["", RIGHT],
    "a lambda": ["double = lambda x: 2 * x"],
    "a partial": [
        "from functools import partial\nimport operator\ndouble=partial(operator.mul, 2)"
    ],
    "a method": ["class A:\n    def m(self, x): return 2 * x\ndouble = A().m"],
    "a callable object": ["class A:\n    def __call__(self, x): return 2 * x\ndouble = A()"],
    "a class": ["class double(int):\n    def __new__(cls, x): return int.__new__(int, 2 * x)"],
    "a decorator": ["from functools import cache\n@cache\ndef double(x): return 2 * x"],
    "a recursion": ["def double(x):\n    return 0 if x == 0 else 2 + double(x - 1)"],
    "numpy": ["import numpy as np\ndef double(x): return np.multiply(x, 2)"],
    "a magic": [f"%time 1 + 1\n{RIGHT}"],
    "a shell line": [f"!true\n{RIGHT}"],
    "an await": [f"import asyncio\nawait asyncio.sleep(0)\n{RIGHT}"],
    "an exit in a cell": ["import sys\nsys.exit()", RIGHT],
    "a question for the reader": ["input('?')", RIGHT],
    "a file of its own": [f"open('notes.txt', 'w').write('x')\n{RIGHT}"],
    "a temporary file": [f"import tempfile\ntempfile.TemporaryFile().write(b'x')\n{RIGHT}"],
    "a thread": [f"import threading\nthreading.Thread(target=print).start()\n{RIGHT}"],
    "a process": [f"import subprocess\nsubprocess.run(['true'], check=True)\n{RIGHT}"],
    "a seed": [f"import random\nrandom.seed(3)\n{RIGHT}"],
    "an enumeration": [
        "import enum\nclass E(enum.IntEnum): six = 6\ndef double(x): return E(2 * x)"
    ],
    "letters of other alphabets": ["def double(λ):\n    return 2 * λ  # 二倍 🙂"],
    "windows line ends": [RIGHT.replace("\n", "\r\n")],
    "tabs": ["def double(x):\n\treturn 2 * x"],
    "sleep": [f"import time\ntime.sleep(0.5)\n{RIGHT}"],
    # what a machine or a notebook sets up differently
    "figures inline": [f"%matplotlib inline\n{RIGHT}"],
    "figures in a widget": [f"%matplotlib widget\n{RIGHT}"],
    "sharp figures": [f"%config InlineBackend.figure_format = 'retina'\n{RIGHT}"],
    "an extension that is not there": [f"%load_ext nowhere\n{RIGHT}"],
    "an unknown magic": [f"%nowhere\n{RIGHT}"],
    "a change of folder": [f"%cd ..\n{RIGHT}"],
    "time of the whole cell": [f"%%time\n{RIGHT}"],
    "a module of its own": [
        "%%writefile helper.py\ndef twice(x): return 2 * x",
        "from helper import twice as double",
    ],
    "a figure at each call": [
        "import matplotlib.pyplot as plt\ndef double(x):\n    plt.plot([x])\n    plt.show()\n"
        "    return 2 * x"
    ],
    "processes at each call": [
        "from concurrent.futures import ProcessPoolExecutor\ndef twice(x): return 2 * x\n"
        "def double(x):\n    with ProcessPoolExecutor(2) as pool:\n"
        "        return pool.submit(twice, x).result()"
    ],
    "a loop of events": [
        "import asyncio\nasync def twice(x): return 2 * x\n"
        "def double(x): return asyncio.run(twice(x))"
    ],
    "names of the check": [f"right = check_double = YES = None\n{RIGHT}"],
    "its own print": [f"print = None\n{RIGHT}"],
    # numbers of other libraries
    "a number with a mask": [
        "import numpy as np\ndef double(x): return np.ma.array([2 * x])[0]",
    ],
    "an array with a mask": ["import numpy as np\ndef double(x): return np.ma.array(2 * x)"],
    "an array in a file": [
        "import numpy as np\nm = np.memmap('m', dtype=float, mode='w+', shape=(1,))\n"
        "def double(x):\n    m[0] = 2 * x\n    return m"
    ],
    "an array of its own kind": [
        "import numpy as np\nclass A(np.ndarray): pass\n"
        "def double(x): return np.array(2 * x).view(A)"
    ],
    "a number of sympy": ["import sympy\ndef double(x): return sympy.Rational(4, 2) * x"],
    "a number of mpmath": ["import mpmath\ndef double(x): return mpmath.mpf(2) * x"],
    "a decimal number": ["from decimal import Decimal\ndef double(x): return Decimal(2) * x"],
    "a number of its own kind": [
        "class N:\n    def __init__(self, x): self.x = x\n"
        "    def __float__(self): return 2.0 * self.x\ndouble = N"
    ],
    "a number of NumPy": ["import numpy as np\ndef double(x): return np.float64(2 * x)"],
    "a function of NumPy": ["import numpy as np\ndouble = np.frompyfunc(lambda x: 2 * x, 1, 1)"],
    "errors of NumPy": [f"import numpy as np\nnp.seterr(all='raise')\n{RIGHT}"],
    "warnings as errors": [f"import warnings\nwarnings.simplefilter('error')\n{RIGHT}"],
}

WRONG = {
    "nothing": ([], "NameError"),
    "an empty cell": ([""], "NameError"),
    "another name": (["def duoble(x): return 2 * x"], "NameError"),
    "half a line": (["def double(x"], "SyntaxError"),
    "an error": (["def double(x): return 1 / 0"], "ZeroDivisionError"),
    "an error of its own": (
        ["class Oh(Exception): pass\ndef double(x): raise Oh('no')"],
        "Oh: no",
    ),
    "no function": (["double = 5"], "TypeError"),
    "too many arguments": (["def double(x, y): return 2 * x"], "TypeError"),
    "a recursion without end": (["def double(x): return double(x)"], "RecursionError"),
    "a stop of Python in the function": (["import sys\ndef double(x): sys.exit()"], "SystemExit"),
    "an endless loop": (["while True: pass"], "does not end within"),
    "an endless call": (["def double(x):\n    while True: pass"], "does not end within"),
    "a long sleep": (["import time\ntime.sleep(1000)"], "does not end within"),
    "an end of Python": (["import os\nos._exit(0)"], "ended Python"),
    "an end of Python at the call": (["import os\ndef double(x): os._exit(0)"], "ended Python"),
    "a crash": (["import ctypes\nctypes.string_at(0)"], "ended Python"),
    "a message of megabytes": (["def double(x): raise ValueError('=' * 5_000_000)"], "ValueError"),
    "an error of many lines": (["def double(x): raise ValueError('a\\nb\\nc')"], "ValueError"),
    "too much memory": (["x = bytearray(2**40)"], "MemoryError"),
    "too much memory at the call": (["def double(x): return bytearray(2**36)"], "MemoryError"),
}

_FRAMES = """
import sys
def double(x):
    frame = sys._getframe()
    while frame:
        if 'right' in frame.f_locals or 'check_double' in frame.f_globals:
            frame.f_globals['check_double'] = lambda f: print('{YES}')
        frame = frame.f_back
    return 7
""".replace("{YES}", YES)

HOSTILE = {
    "prints ✓": [f"{NO}\nprint('{YES}')"],
    "prints ✓ at the call": [f"def double(x):\n    print('{YES}')\n    return 7"],
    "prints ✓ on stderr": [f"import sys\n{NO}\nprint('{YES}', file=sys.stderr)"],
    "prints ✓ on stderr at the call": [
        f"import sys\ndef double(x):\n    print('{YES}', file=sys.stderr)\n    return 7"
    ],
    "writes ✓ to every descriptor": [
        f"import os\nfor fd in range(64):\n    try: os.write(fd, '{YES}\\n'.encode())\n"
        f"    except OSError: pass\n{NO}"
    ],
    "writes a verdict to every descriptor": [
        f"import os, json\nfor fd in range(64):\n"
        f"    try: os.write(fd, json.dumps({{'said': '{YES}'}}).encode())\n"
        f"    except OSError: pass\nos._exit(0)"
    ],
    "replaces print": [
        f"import builtins\nold = print\nbuiltins.print = lambda *a, **k: old('{YES}')\n{NO}"
    ],
    "replaces print in the notebook": [f"old = print\ndef print(*a): old('{YES}')\n{NO}"],
    "replaces stdout": [
        f"import sys\nclass S:\n    def write(self, t): sys.__stdout__.write('{YES}')\n"
        f"    def flush(self): pass\nsys.stdout = S()\n{NO}"
    ],
    "a hook after each cell": [
        f"get_ipython().events.register('post_run_cell', lambda r: print('{YES}'))\n{NO}"
    ],
    "a hook before each cell": [
        f"def hook(info): check_double.__code__ = (lambda d: print('{YES}')).__code__\n"
        f"get_ipython().events.register('pre_run_cell', hook)\n{NO}"
    ],
    "a hook that rewrites cells": [
        f"get_ipython().input_transformers_post.append(lambda lines: [\"print('{YES}')\\n\"])\n{NO}"
    ],
    "a hook into the syntax tree": [
        "import ast\nclass T(ast.NodeTransformer):\n    def visit_Constant(self, n):\n"
        "        return ast.Constant(7) if n.value == 6 else n\n"
        f"get_ipython().ast_transformers.append(T())\n{NO}"
    ],
    "replaces the check": [f"check_double = lambda f: print('{YES}')\n{NO}"],
    "replaces exec": [f"import builtins\nbuiltins.exec = lambda *a: print('{YES}')\n{NO}"],
    "replaces compile": [
        f"import builtins\nold = compile\nbuiltins.compile = lambda s, *a, **k: "
        f"old(\"print('{YES}')\", *a)\n{NO}"
    ],
    "climbs the frames": [_FRAMES],
    "traces all calls": [
        f"import sys\ndef trace(*a):\n    a[0].f_locals.update(right=True)\n    return trace\n"
        f"sys.settrace(trace)\n{NO}"
    ],
    "a result that equals everything": [
        "class A:\n    def __eq__(self, other): return True\ndef double(x): return A()"
    ],
    "a number that equals everything": [
        "class A(int):\n    def __eq__(self, other): return True\n"
        "    def __hash__(self): return 0\ndef double(x): return A(7)"
    ],
    "a generator that prints": [f"def double(x):\n    print('{YES}')\n    yield 7"],
    "a result that runs code when it is unpacked": [
        f"class A:\n    def __reduce__(self): return eval, (\"print('{YES}')\",)\n"
        "def double(x): return A()"
    ],
    "an error that is no error": [
        "class E(Exception):\n    def __str__(self): return '" + YES + "'\ndef double(x): raise E()"
    ],
    "an error whose text has lines": [f"def double(x): raise ValueError('a\\n{YES}')"],
    "an error whose name is a line": [
        f"def double(x): raise type('{YES}', (Exception,), {{}})('no')"
    ],
    "prints at the end": [f"import atexit\natexit.register(print, '{YES}')\n{NO}"],
    "prints from a thread": [
        "import threading, time\ndef late():\n    while True:\n"
        f"        print('{YES}')\n        time.sleep(0.01)\n"
        f"threading.Thread(target=late, daemon=True).start()\n{NO}"
    ],
    "patches the wall": [
        "import sys\nwall = sys.modules.get('wall')\nif wall:\n"
        f"    wall.Link.answer = lambda self, *a: self.send('return', 7, ([], {{}}), {{}})\n{NO}"
    ],
    "garbage over the wall": [
        "import gc, socket\nfor s in gc.get_objects():\n    if isinstance(s, socket.socket):\n"
        "        s.sendall(b'\\0' * 4096)"
    ],
    "code over the wall": [
        "import gc, socket, struct\nbad = b\"cbuiltins\\neval\\n(S'print(1)'\\ntR.\"\n"
        "for s in gc.get_objects():\n    if isinstance(s, socket.socket):\n"
        "        s.sendall(struct.pack('>Q', len(bad)) + bad)"
    ],
    "a size over the wall": [
        "import gc, socket\nfor s in gc.get_objects():\n    if isinstance(s, socket.socket):\n"
        "        s.sendall(b'\\x7f' * 8)"
    ],
    "many processes": ["import os\nwhile True:\n    try: os.fork()\n    except OSError: pass"],
    "ends all processes": [
        "import os, signal\nfor p in (os.getppid(), -1):\n    try: os.kill(p, signal.SIGKILL)\n"
        f"    except OSError: pass\n{NO}"
    ],
    "ends its group": ["import os, signal\nos.killpg(0, signal.SIGKILL)"],
    "stops its parent": [
        f"import os, signal\ntry: os.kill(os.getppid(), signal.SIGSTOP)\nexcept OSError: pass\n{NO}"
    ],
    "removes what it can": [
        "import shutil, os\nshutil.rmtree('/tmp', ignore_errors=True)\n"
        f"shutil.rmtree('..', ignore_errors=True)\n{NO}"
    ],
    "fills a file": ["f = open('big', 'wb')\nwhile True: f.write(b'x' * 2**20)"],
    "a liar about its class": [
        "class A:\n    __class__ = int\n    def __eq__(self, other): return True\n"
        "def double(x): return A()"
    ],
    "a dictionary that lies": [
        "class A(dict):\n    def __eq__(self, other): return True\n"
        "    __hash__ = None\n    def get(self, *key): return 6\ndef double(x): return A()"
    ],
    "an array that lies": [
        "import numpy as np\nclass A(np.ndarray):\n    def __eq__(self, other): return True\n"
        "    def __array_function__(self, *a): return True\n"
        "def double(x): return np.ones(1).view(A)"
    ],
    "ANSI codes": [f"def double(x): raise ValueError('\\x1b[2K\\x1b[1G{YES}')"],
    "praise after nothing to see": [
        f"def double(x): raise type('\\u200b{YES}', (Exception,), {{}})('')"
    ],
    "an error that can't be told": [
        "class E(Exception):\n    def __str__(self): raise self\ndef double(x): raise E()"
    ],
    "an error without arguments": [
        "class E(Exception):\n    args = property(lambda self: 1 / 0)\ndef double(x): raise E()"
    ],
    "an iterator without end": ["import itertools\ndef double(x): return itertools.count()"],
    "a list in itself": ["def double(x):\n    a = []\n    a.append(a)\n    return a"],
    "lists in lists": [
        "def double(x):\n    a = []\n    for _ in range(10**5): a = [a]\n    return a"
    ],
    "folders in folders": [
        "import os\nfor _ in range(3000):\n    os.mkdir('a')\n    os.chdir('a')\n" + NO
    ],
    "fills the disk": [
        "b = bytes(2**20)\nfor i in range(1000):\n    with open(f'f{i}', 'wb') as f:\n"
        "        for _ in range(90): f.write(b)\n" + NO
    ],
    "closes all descriptors": [f"import os\nos.closerange(3, 1000)\n{NO}"],
    "ignores all signals": [
        "import signal\nfor s in range(1, 32):\n    try: signal.signal(s, signal.SIG_IGN)\n"
        "    except (OSError, ValueError): pass\nwhile True: pass"
    ],
    "catches all that ends it": [
        "while True:\n    try:\n        while True: pass\n    except BaseException: pass"
    ],
    "lifts its limits": [
        "import resource\nfor r in (resource.RLIMIT_AS, resource.RLIMIT_FSIZE):\n"
        "    try: resource.setrlimit(r, (-1, -1))\n    except (OSError, ValueError): pass\n"
        f"x = bytearray(2**36)\n{NO}"
    ],
    "a child that lives on": [
        "import os, time\nif os.fork() == 0:\n    os.setsid()\n    time.sleep(500)\n" + NO
    ],
}

# Those for which nothing can be done but to wait until their time is up.
ENDLESS = [
    *(WRONG[name][0] for name in ("an endless loop", "an endless call", "a long sleep")),
    *(HOSTILE[name] for name in ("many processes", "an iterator without end")),
    *(HOSTILE[name] for name in ("ignores all signals", "catches all that ends it")),
]
