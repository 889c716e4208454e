"""Celery with Redis as its result backend: a worker in this process, its queue in memory."""

from celery import Celery, group, states
from celery.contrib.testing.worker import start_worker

from checks import address, check, equal

HOST, PORT = address()

app = Celery("checks", broker="memory://", backend=f"redis://{HOST}:{PORT}/5")
app.conf.update(result_expires=60, task_track_started=True, worker_hijack_root_logger=False)


@app.task
def add(left, right):
    return left + right


@app.task
def fail():
    raise ValueError("on purpose")


with start_worker(app, pool="solo", perform_ping_check=False, shutdown_timeout=30):
    with check("Celery result"):
        result = add.delay(2, 3)
        equal(result.get(timeout=30), 5)
        equal(result.state, states.SUCCESS)
        assert 0 < app.backend.client.ttl(app.backend.get_key_for_task(result.id)) <= 60
    with check("Celery failure"):
        result = fail.delay()
        try:
            result.get(timeout=30)
        except ValueError as error:
            equal(str(error), "on purpose")
        else:
            raise AssertionError("the task has to fail")
        equal(result.state, states.FAILURE)
    with check("Celery many results"):
        results = [add.delay(number, number) for number in range(50)]
        equal([result.get(timeout=30) for result in results], [2 * number for number in range(50)])
    with check("Celery group"):
        results = group(add.s(number, 1) for number in range(10)).apply_async()
        equal(results.get(timeout=30), list(range(1, 11)))
        results.save()
        equal(len(app.GroupResult.restore(results.id)), 10)
    with check("Celery chain"):
        equal((add.s(1, 2) | add.s(4)).apply_async().get(timeout=30), 7)
    with check("Celery forget"):
        result = add.delay(1, 1)
        equal(result.get(timeout=30), 2)
        result.forget()
        equal(app.AsyncResult(result.id).state, states.PENDING)
