"""Flask-Caching over Redis: the cache object, cached views and memoized functions."""

from flask import Flask
from flask_caching import Cache

from checks import address, check, equal, eventually

HOST, PORT = address()

app = Flask(__name__)
app.config.update(
    CACHE_TYPE="RedisCache",
    CACHE_REDIS_HOST=HOST,
    CACHE_REDIS_PORT=PORT,
    CACHE_REDIS_DB=6,
    CACHE_KEY_PREFIX="flask:",
    CACHE_DEFAULT_TIMEOUT=60,
)
cache = Cache(app)
calls = {"view": 0, "sum": 0}


@app.get("/view")
@cache.cached()
def view():
    calls["view"] += 1
    return f"rendered {calls['view']}"


@cache.memoize()
def total(left, right):
    calls["sum"] += 1
    return left + right


with app.app_context():
    cache.clear()
    with check("Flask-Caching values"):
        equal(cache.set("key", [1, 2]), True)
        equal(cache.get("key"), [1, 2])
        equal(cache.add("key", 3), False)
        equal(cache.add("fresh", 3), True)
        equal(cache.has("key"), True)
        equal(cache.delete("key"), True)
        equal(cache.get("key"), None)
    with check("Flask-Caching many"):
        cache.set_many({"a": 1, "b": 2})
        equal(cache.get_many("a", "b", "absent"), [1, 2, None])
        equal(cache.get_dict("a", "b"), {"a": 1, "b": 2})
        cache.delete_many("a", "b")
        equal(cache.get_many("a", "b"), [None, None])
    with check("Flask-Caching timeouts"):
        cache.set("brief", 1, timeout=1)
        eventually(lambda: cache.get("brief"), None)
    with check("Flask-Caching views"):
        browser = app.test_client()
        equal(browser.get("/view").text, "rendered 1")
        equal(browser.get("/view").text, "rendered 1")
        cache.delete("view//view")
        equal(browser.get("/view").text, "rendered 2")
    with check("Flask-Caching memoized functions"):
        equal([total(1, 2), total(1, 2), total(2, 2)], [3, 3, 4])
        equal(calls["sum"], 2)
        cache.delete_memoized(total, 1, 2)
        equal([total(1, 2), total(2, 2)], [3, 4])
        equal(calls["sum"], 3)
    with check("Flask-Caching clear"):
        cache.set("last", 1)
        equal(cache.clear(), True)
        equal(cache.get("last"), None)
