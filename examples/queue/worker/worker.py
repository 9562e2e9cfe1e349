"""Takes jobs out of the queue, one at a time."""
import redis

queue = redis.Redis("redis")
while True:
    _, job = queue.brpop("jobs")
    print("done:", job.decode())
    queue.incr("done")
