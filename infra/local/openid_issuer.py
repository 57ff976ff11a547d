"""Serve an OpenID Connect issuer for a stage: `openid_issuer.py PORT`. It stands in for Google.

It publishes one key and signs whatever it is asked to sign, with that key or with one that it does not publish: a test
needs identity tokens that are wrong in every way. Its keys are new at every start.
"""

import base64
import hashlib
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256

JWKS_MAX_AGE = 300
LONGEST_BODY = 64 * 1024


def base64url(content):
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def base64url_of_number(number):
    return base64url(number.to_bytes((number.bit_length() + 7) // 8, "big"))


class Key:
    """An RSA key. Its id is made of the key, so that whoever keeps an earlier key set notices a restart."""

    def __init__(self):
        self._private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        numbers = self._private.public_key().public_numbers()
        self._modulus, self._exponent = base64url_of_number(numbers.n), base64url_of_number(numbers.e)
        self.id = base64url(hashlib.sha256(self._modulus.encode()).digest())[:16]

    def public(self):
        return {"kty": "RSA", "n": self._modulus, "e": self._exponent, "alg": "RS256", "use": "sig", "kid": self.id}

    def sign(self, header, claims):
        message = ".".join(base64url(json.dumps(part).encode()) for part in (header, claims))
        signature = self._private.sign(message.encode(), padding.PKCS1v15(), SHA256())
        return f"{message}.{base64url(signature)}"


KEYS = {"current": Key(), "stranger": Key()}


def sign(request):
    """The token that a request asks for. Whatever its header says, the signature is RS256."""
    if not isinstance(request, dict) or request.keys() - {"header", "claims", "key"}:
        raise ValueError("expected an object with header, claims and key")
    overrides, claims = request.get("header", {}), request.get("claims")
    if not isinstance(overrides, dict) or not isinstance(claims, dict):
        raise ValueError("header and claims have to be objects")
    name = request.get("key", "current")
    if not isinstance(name, str) or name not in KEYS:
        raise ValueError("there is no such key: current or stranger")
    key = KEYS[name]
    header = {"alg": "RS256", "typ": "JWT", "kid": key.id, **overrides}
    return key.sign({member: value for member, value in header.items() if value is not None}, claims)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # The reply leaves in two writes; Nagle against delayed ACK would hold the second one back for 40 ms.
    disable_nagle_algorithm = True

    def do_GET(self):
        if self.path == "/jwks":
            self.reply(200, {"keys": [KEYS["current"].public()]}, f"public, max-age={JWKS_MAX_AGE}")
        elif self.path == "/.well-known/openid-configuration":
            issuer = f"http://127.0.0.1:{self.server.server_port}"
            self.reply(200, {"issuer": issuer, "jwks_uri": f"{issuer}/jwks"})
        else:
            self.reply(404, {"error": "there is no such path"})

    def do_POST(self):
        try:
            length = int(self.headers.get("Content-Length", ""))
            if not 0 <= length <= LONGEST_BODY:
                raise ValueError("the body is too long")
            body = self.rfile.read(length)
            if self.path != "/sign":
                self.reply(404, {"error": "there is no such path"})
                return
            self.reply(200, {"token": sign(json.loads(body))})
        # Numbers beyond what Python reads, nesting beyond its stack: garbage like any other.
        except (ValueError, RecursionError) as error:
            self.close_connection = True
            self.reply(400, {"error": str(error)})

    def reply(self, status, content, cache_control="no-store"):
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", cache_control)
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
