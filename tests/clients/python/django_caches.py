"""Django's cache framework over its own Redis back end and over django-redis, and sessions kept in the cache."""

from django.conf import settings

from checks import address, check, equal, eventually

HOST, PORT = address()
URL = f"redis://{HOST}:{PORT}"

settings.configure(
    CACHES={
        "default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": f"{URL}/7"},
        "django-redis": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": f"{URL}/8"},
    },
    SESSION_ENGINE="django.contrib.sessions.backends.cache",
    SECRET_KEY="of no importance",
    USE_TZ=True,
)

import django  # noqa: E402  The settings come first.

django.setup()

from django.contrib.sessions.backends.cache import SessionStore  # noqa: E402
from django.core.cache import caches  # noqa: E402


def values(cache):
    cache.set("key", {"nested": [1, "two", None]}, timeout=60)
    equal(cache.get("key"), {"nested": [1, "two", None]})
    equal(cache.get("absent", "default"), "default")
    equal(cache.add("key", "other"), False)
    equal(cache.add("fresh", "added"), True)
    equal(cache.get_or_set("computed", lambda: 7, 60), 7)
    equal(cache.has_key("computed"), True)
    equal(cache.delete("computed"), True)
    equal(cache.delete("computed"), False)
    equal("computed" in cache, False)


def many(cache):
    pairs = {f"many{number}": number for number in range(50)}
    assert not cache.set_many(pairs, timeout=60), "no key may fail"
    equal(cache.get_many([*pairs, "absent"]), pairs)
    cache.delete_many(list(pairs)[:25])
    equal(len(cache.get_many(list(pairs))), 25)


def counting(cache):
    cache.set("count", 10)
    equal(cache.incr("count"), 11)
    equal(cache.decr("count", 5), 6)
    try:
        cache.incr("nothing")
    # django-redis asks by a Lua script whether the key is there; without scripts it adds to None.
    except (ValueError, TypeError):
        pass
    else:
        raise AssertionError("a counter that is not there has to be an error")


def timeouts(cache):
    cache.set("for-ever", 1, timeout=None)
    equal(cache.touch("for-ever", 100), True)
    equal(cache.touch("absent", 100), False)
    cache.set("never", 1, timeout=0)
    equal(cache.get("never"), None)
    cache.set("second", 1, timeout=1)
    eventually(lambda: cache.get("second"), None)


def versions(cache):
    cache.set("key", "one", version=1)
    cache.set("key", "two", version=2)
    equal((cache.get("key", version=1), cache.get("key", version=2)), ("one", "two"))
    equal(cache.incr_version("key", version=2), 3)
    equal((cache.get("key", version=2), cache.get("key", version=3)), (None, "two"))


def extras(cache):
    """What only django-redis offers."""
    cache.set("with-ttl", "x", timeout=100)
    assert 0 < cache.ttl("with-ttl") <= 100
    assert 0 < cache.pttl("with-ttl") <= 100_000
    equal(cache.persist("with-ttl"), True)
    equal(cache.ttl("with-ttl"), None)
    equal(cache.expire("with-ttl", timeout=50), True)
    equal(cache.set("with-ttl", "y", nx=True), False)
    cache.set_many({f"pattern:{number}": number for number in range(30)})
    equal(sorted(cache.keys("pattern:*")), sorted(f"pattern:{number}" for number in range(30)))
    equal(len(list(cache.iter_keys("pattern:*"))), 30)
    equal(cache.delete_pattern("pattern:*"), 30)


def clearing(cache):
    cache.set("last", 1)
    cache.clear()
    equal(cache.get("last"), None)


for name in ["default", "django-redis"]:
    caches[name].clear()
    for part in [values, many, counting, timeouts, versions, clearing]:
        with check(f"Django, {name}: {part.__name__}"):
            part(caches[name])
with check("Django, django-redis: extras"):
    extras(caches["django-redis"])
with check("Django: sessions"):
    session = SessionStore()
    session["user"] = 42
    session.save()
    equal(SessionStore(session.session_key)["user"], 42)
    session.flush()
    equal(SessionStore(session.session_key or "gone").get("user"), None)
