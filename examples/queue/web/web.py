"""Puts each job that is asked for into the queue, and says how many have been done."""
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlparse

import redis

queue = redis.Redis("redis")


class Page(BaseHTTPRequestHandler):
    def do_GET(self):
        for job in parse_qs(urlparse(self.path).query).get("job", []):
            queue.lpush("jobs", job)
        text = f"waiting: {queue.llen('jobs')}, done: {int(queue.get('done') or 0)}\n".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


ThreadingHTTPServer(("", 8080), Page).serve_forever()
