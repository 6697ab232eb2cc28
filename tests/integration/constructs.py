"""What an agent's body may do and ought not, one construct each, and what becomes of it.

Each is put into an agent that hands its ``value`` to a step and returns it; the run is looked back at in a process that
has another clock, environment, folder, hash seed and memory.
"""

# ruff: noqa: E501 - a body is one line of text here
from __future__ import annotations

AT_START, REFUSED, SAME, COMPARED, SILENT = "at start", "refused", "same", "compared", "silent"
"""Named when the run starts; refused when it happens; the same each time; told when looked back at; not noticed."""

HEAD = """\
import asyncio, atexit, ctypes, datetime, decimal, email.utils, functools, gc, getpass, glob, gzip, hashlib, http.client
import inspect, io, json, linecache, locale, logging, math, mimetypes, multiprocessing, os, pathlib, pickle, platform
import random, resource, secrets, shutil, signal, socket, sqlite3, subprocess, sys, tempfile, textwrap, threading, time
import urllib.request, uuid, warnings, weakref, zoneinfo
from concurrent.futures import ThreadPoolExecutor
import httpx
import numpy as np
import openai
import pandas as pd
import kaigents_nb as kg

CACHE = {}
COUNTS = [0]


class Plain:
    pass


class Finds:
    def load(self):
        return np.random.rand()


def draws():
    return np.random.rand()


def draws_by_way():
    return [draws()]


def reads(name):
    with open(name) as file:
        return file.read()


@functools.lru_cache
def remembers(x):
    COUNTS[0] += 1
    return COUNTS[0]


@kg.step(retry=kg.Retry(max_attempts=1))
async def keep(value):
    return value


@kg.step
async def numbers():
    return pd.DataFrame({"n": range(100)})
"""

AGENT = """

@kg.agent
async def {name}():
    words = ["a", "b", "c", "d", "e", "f", "g", "h"]
{body}
    await keep(value)
    return value
"""

IN_README = {
    "kept_to_itself": "an address",
    "clock_kept_to_itself": "a clock",
    "alias_changes_module": "or under another name",
    "module_changed_by_its_function": "a module changed by its own functions",
    "alias_writes_parquet": "a file written by C++ or Rust",
    "log_line": "line that is logged again",
}
"""How the README names what nobody notices."""

CONSTRUCTS: dict[str, tuple[str, str]] = {
    # the clock
    "datetime_now": (REFUSED, "value = str(datetime.datetime.now())"),
    "date_today": (REFUSED, "value = str(datetime.date.today())"),
    "time_time": (REFUSED, "value = time.time()"),
    "time_monotonic": (REFUSED, "value = time.monotonic()"),
    "time_perf_counter": (REFUSED, "value = time.perf_counter()"),
    "time_sleep": (REFUSED, "time.sleep(0.01); value = 1"),
    "time_localtime": (REFUSED, "value = list(time.localtime())"),
    "time_ctime": (AT_START, "value = time.ctime()"),
    "time_gmtime": (AT_START, "value = list(time.gmtime())"),
    "time_strftime": (AT_START, "value = time.strftime('%H:%M:%S')"),
    "time_of_a_moment": (SAME, "value = time.strftime('%Y', time.gmtime(0))"),
    "clock_gettime": (COMPARED, "value = time.clock_gettime(time.CLOCK_REALTIME)"),
    "timestamp_now": (AT_START, "value = str(pd.Timestamp.now())"),
    "timestamp_utcnow": (AT_START, "value = str(pd.Timestamp.utcnow())"),
    "timestamp_of_now": (AT_START, "value = str(pd.Timestamp('now'))"),
    "to_datetime_now": (AT_START, "value = str(pd.to_datetime('now'))"),
    "datetime64_now": (AT_START, "value = str(np.datetime64('now'))"),
    "timestamp_alias": (COMPARED, "made = pd.Timestamp\n    value = str(made.now())"),
    "timestamp_from_text": (COMPARED, "word = 'n' + 'ow'\n    value = str(pd.Timestamp(word))"),
    "email_date": (COMPARED, "value = email.utils.formatdate()"),
    "loop_time": (SAME, "value = asyncio.get_running_loop().time()"),
    "kg_now": (SAME, "value = str(kg.now())"),
    "wait_for": (
        SAME,
        "value = 0\n    try: await asyncio.wait_for(asyncio.sleep(5), 0.01)\n    except TimeoutError: value = 1",
    ),
    "timeout": (
        SAME,
        "value = 0\n    try:\n        async with asyncio.timeout(0.01): await asyncio.sleep(5)\n    except TimeoutError: value = 1",
    ),
    # chance
    "random_random": (REFUSED, "value = random.random()"),
    "random_choice": (REFUSED, "value = random.choice(words)"),
    "random_shuffle": (REFUSED, "random.shuffle(words); value = words"),
    "random_seeded": (SAME, "value = random.Random(3).random()"),
    "random_unseeded": (AT_START, "value = random.Random().random()"),
    "random_alias": (COMPARED, "made = random.Random\n    value = made().random()"),
    "system_random": (AT_START, "value = random.SystemRandom().random()"),
    "secrets_token": (REFUSED, "value = secrets.token_hex(4)"),
    "uuid4": (REFUSED, "value = str(uuid.uuid4())"),
    "uuid1": (REFUSED, "value = str(uuid.uuid1())"),
    "uuid5": (SAME, "value = str(uuid.uuid5(uuid.NAMESPACE_DNS, 'a'))"),
    "os_urandom": (REFUSED, "value = os.urandom(4).hex()"),
    "np_random": (AT_START, "value = float(np.random.rand())"),
    "np_default_rng": (AT_START, "value = float(np.random.default_rng().random())"),
    "np_seeded": (SAME, "value = float(np.random.default_rng(3).random())"),
    "np_in_helper": (AT_START, "value = float(draws())"),
    "np_two_helpers_down": (AT_START, "value = float(draws_by_way()[0])"),
    "np_in_a_method": (AT_START, "value = float(Finds().load())"),
    "np_alias": (COMPARED, "draw = getattr(np.random, 'rand')\n    value = float(draw())"),
    "df_sample": (AT_START, "value = (await numbers()).sample(9)"),
    "df_sample_seeded": (SAME, "value = (await numbers()).sample(9, random_state=3)"),
    "kg_random": (SAME, "value = kg.random().random(), kg.random().sample(words, 2)"),
    "kg_uuid4": (SAME, "value = str(kg.uuid4())"),
    "tempname": (REFUSED, "value = tempfile.gettempdir()"),
    # this process and machine
    "os_environ": (AT_START, "value = os.environ['CONSTRUCT']"),
    "os_getenv": (AT_START, "value = os.getenv('CONSTRUCT')"),
    "os_getpid": (REFUSED, "value = os.getpid()"),
    "os_getcwd": (REFUSED, "value = os.getcwd()"),
    "os_cpu_count": (REFUSED, "value = os.cpu_count()"),
    "path_exists": (REFUSED, "value = os.path.exists('/tmp')"),
    "abspath": (REFUSED, "value = os.path.abspath('x')"),
    "platform_node": (REFUSED, "value = platform.node()"),
    "getpass_user": (REFUSED, "value = getpass.getuser()"),
    "sys_argv": (COMPARED, "value = list(sys.argv)"),
    "sys_path": (COMPARED, "value = list(sys.path)"),
    "sys_flags": (SAME, "value = str(sys.flags)"),
    "hash_seed": (COMPARED, "value = min(words, key=str.__hash__)"),
    "sys_modules": (COMPARED, "value = sorted(sys.modules)"),
    "sys_refcount": (COMPARED, "value = sys.getrefcount(None)"),
    "sys_allocated": (COMPARED, "value = sys.getallocatedblocks()"),
    "thread_ident": (AT_START, "value = threading.get_ident()"),
    "resource_usage": (COMPARED, "value = list(resource.getrusage(resource.RUSAGE_SELF))"),
    "uuid_getnode": (SAME, "value = uuid.getnode()"),
    "gc_count": (COMPARED, "value = list(gc.get_count()), len(gc.get_objects())"),
    "locale_get": (REFUSED, "value = locale.getlocale()"),
    "decimal_context": (SAME, "decimal.getcontext().prec = 5\n    value = str(decimal.Decimal(1) / 3)"),
    "decimal_context_kept": (SAME, "value = decimal.getcontext().prec\n    decimal.getcontext().prec = 7"),
    "warnings_warned": (
        SAME,
        "with warnings.catch_warnings(record=True) as told:\n        warnings.simplefilter('always'); warnings.warn('x')\n    value = len(told)",
    ),
    "recursion": (AT_START, "sys.setrecursionlimit(3000); value = 1"),
    # identity and order
    "id": (AT_START, "value = id(words)"),
    "id_alias": (COMPARED, "number = [id][0]\n    value = number(words)"),
    "repr_with_address": (COMPARED, "value = repr(Plain())"),
    "repr_of_a_function": (COMPARED, "value = repr(reads)"),
    "hash": (AT_START, "value = hash('a')"),
    "hash_alias": (COMPARED, "value = 'a'.__hash__()"),
    "set_for": (AT_START, "value = ''\n    for word in set(words): value += word"),
    "set_list": (AT_START, "value = list(set(words))"),
    "set_join": (AT_START, "value = ''.join(set(words))"),
    "set_star": (AT_START, "value = [*set(words)]"),
    "set_pop": (AT_START, "value = {'a', 'b', 'c', 'd', 'e'}.pop()"),
    "set_text": (AT_START, "value = f'{set(words)}'"),
    "set_sorted": (SAME, "value = sorted(set(words))"),
    "set_itself": (SAME, "value = set(words)"),
    "set_of_another": (COMPARED, "found = dict(all=set(words))['all']\n    value = [word for word in found]"),
    "dict_order": (SAME, "value = list(dict.fromkeys(words))"),
    "weakref_dead": (SAME, "value = weakref.ref(Plain())() is None"),
    "pickle_bytes": (SAME, "value = pickle.dumps(words)"),
    "hashlib": (SAME, "value = hashlib.sha256(b'a').hexdigest()"),
    # files
    "open": (REFUSED, "value = open(HERE + '/a.txt').read()"),
    "open_write": (REFUSED, "open(HERE + '/b.txt', 'w').close(); value = 1"),
    "open_in_helper": (REFUSED, "value = reads(HERE + '/a.txt')"),
    "io_open": (REFUSED, "with io.open(HERE + '/a.txt') as file: value = file.read()"),
    "path_read_text": (REFUSED, "value = pathlib.Path(HERE, 'a.txt').read_text()"),
    "read_csv": (REFUSED, "value = pd.read_csv(HERE + '/a.csv')"),
    "to_csv": (REFUSED, "pd.DataFrame({'a': [1]}).to_csv(HERE + '/b.csv'); value = 1"),
    "read_parquet": (AT_START, "value = pd.read_parquet(HERE + '/a.parquet')"),
    "to_parquet": (AT_START, "pd.DataFrame({'a': [1]}).to_parquet(HERE + '/b.parquet'); value = 1"),
    "to_parquet_bytes": (SAME, "value = len(pd.DataFrame({'a': [1]}).to_parquet())"),
    "read_parquet_alias": (COMPARED, "read = [pd.read_parquet][0]\n    value = read(HERE + '/clock.parquet')"),
    "np_load": (REFUSED, "value = np.load(HERE + '/a.npy')"),
    "np_fromfile": (REFUSED, "value = np.fromfile(HERE + '/a.txt', 'u1')"),
    "linecache": (COMPARED, "value = linecache.getline(HERE + '/clock.txt', 1)"),
    "sqlite_file": (REFUSED, "value = sqlite3.connect(HERE + '/a.db').execute('select 1').fetchall()"),
    "sqlite_memory": (SAME, "value = sqlite3.connect(':memory:').execute('select 1').fetchall()"),
    "gzip_open": (REFUSED, "value = gzip.open(HERE + '/a.gz').read()"),
    "glob": (REFUSED, "value = glob.glob(HERE + '/*')"),
    "listdir": (REFUSED, "value = os.listdir(HERE)"),
    "shutil_which": (REFUSED, "value = shutil.which('ls')"),
    "zoneinfo": (SAME, "value = str(kg.now().astimezone(zoneinfo.ZoneInfo('Asia/Ho_Chi_Minh')))"),
    "tz_by_pandas": (REFUSED, "value = pd.Timestamp('2024-01-01', tz='America/New_York')"),
    "package_file": (SAME, "value = len(inspect.getsource(textwrap))"),
    "mimetypes": (REFUSED, "mimetypes.init()\n    value = mimetypes.guess_type('a.html')[0]"),
    "import_in_body": (SAME, "import colorsys\n    value = colorsys.rgb_to_hls(0, 0, 1)"),
    # network, programs, threads
    "httpx_get": (REFUSED, "value = httpx.get(URL).text"),
    "httpx_async": (REFUSED, "async with httpx.AsyncClient() as client: value = (await client.get(URL)).text"),
    "httpx_in_tasks": (
        REFUSED,
        "client = httpx.AsyncClient()\n    value = [a.text for a in await asyncio.gather(client.get(URL), client.get(URL))]",
    ),
    "openai": (REFUSED, "value = openai.OpenAI(api_key='k', base_url=URL, max_retries=0).models.list().data"),
    "openai_async": (
        REFUSED,
        "value = (await openai.AsyncOpenAI(api_key='k', base_url=URL, max_retries=0).models.list()).data",
    ),
    "urllib": (REFUSED, "value = urllib.request.urlopen(URL).read()"),
    "http_client": (REFUSED, "value = http.client.HTTPConnection('127.0.0.1', PORT).request('GET', '/')"),
    "socket": (REFUSED, "value = socket.create_connection(('127.0.0.1', PORT)).fileno()"),
    "open_connection": (REFUSED, "value = str(await asyncio.open_connection('127.0.0.1', PORT))"),
    "gethostname": (REFUSED, "value = socket.gethostname()"),
    "read_csv_url": (REFUSED, "value = pd.read_csv(URL)"),
    "subprocess": (AT_START, "value = subprocess.run(['date'], capture_output=True).stdout"),
    "subprocess_alias": (REFUSED, "made = [subprocess][0]\n    value = made.run(['date'], capture_output=True).stdout"),
    "os_system": (AT_START, "value = os.system('true')"),
    "thread": (AT_START, "threading.Thread(target=len).start(); value = 1"),
    "thread_alias": (REFUSED, "made = [threading][0]\n    made.Thread(target=len).start(); value = 1"),
    "thread_pool": (AT_START, "value = ThreadPoolExecutor().submit(len, words).result()"),
    "to_thread": (AT_START, "value = await asyncio.to_thread(len, words)"),
    "run_in_executor": (REFUSED, "value = await asyncio.get_running_loop().run_in_executor(None, len, words)"),
    "process": (AT_START, "multiprocessing.Process(target=len).start(); value = 1"),
    "ctypes": (REFUSED, "value = ctypes.CDLL(None).getpid()"),
    "signal": (REFUSED, "value = signal.alarm(0)"),
    "input": (AT_START, "value = input()"),
    # state that outlives a run
    "own_global": (SAME, "CACHE['n'] = CACHE.get('n', 0) + 1\n    value = CACHE['n']"),
    "own_list": (SAME, "COUNTS[0] += 1\n    value = COUNTS[0]"),
    "own_lru_cache": (SAME, "value = remembers(1), remembers(1), remembers(2)"),
    "own_class_attribute": (SAME, "Plain.n = getattr(Plain, 'n', 0) + 1\n    value = Plain.n"),
    "module_attribute": (AT_START, "math.seen = getattr(math, 'seen', 0) + 1\n    value = math.seen"),
    "module_setattr": (AT_START, "setattr(math, 'seen', 1); value = 1"),
    "module_list": (AT_START, "sys.path.append('x'); value = len(sys.path)"),
    "module_dict": (AT_START, "json.seen['n'] = 1; value = 1"),
    "pandas_options": (AT_START, "pd.options.display.max_rows = 7; value = 1"),
    "pandas_set_option": (AT_START, "pd.set_option('display.max_rows', 7); value = 1"),
    "np_seterr": (AT_START, "np.seterr(all='ignore'); value = 1"),
    "np_errstate": (SAME, "with np.errstate(all='ignore'): value = float(np.float64(1) / np.float64(0))"),
    "module_by_its_function": (
        COMPARED,
        "log = logging.getLogger('constructs')\n    log.addHandler(logging.NullHandler())\n    value = len(log.handlers)",
    ),
    "exit_handler": (AT_START, "atexit.register(len, words); value = 1"),
    "gc_disable": (AT_START, "gc.disable(); value = 1"),
    # seen by nobody: neither a call nor the result depends on it
    "kept_to_itself": (SILENT, "unseen = repr(Plain())\n    value = 1"),
    "clock_kept_to_itself": (SILENT, "unseen = time.clock_gettime(time.CLOCK_REALTIME)\n    value = 1"),
    "alias_changes_module": (SILENT, "module = [math][0]\n    module.unseen = 1\n    value = 1"),
    "module_changed_by_its_function": (SILENT, "logging.getLogger('constructs.unseen').setLevel(10); value = 1"),
    "alias_writes_parquet": (
        SILENT,
        "write = getattr(pd.DataFrame({'a': [1]}), 'to_' + 'parquet')\n    write(HERE + '/b.parquet')\n    value = 1",
    ),
    "log_line": (SILENT, "logging.getLogger('constructs').debug('said again'); value = 1"),
}
