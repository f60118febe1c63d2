"""Every setting of Flotilla, read from the environment once."""

from __future__ import annotations

import logging
import os
import tomllib
from pathlib import Path
from urllib.parse import urlsplit

import dj_database_url
from csp.constants import NONE, SELF
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from config import env, logs
from config.embedded import ROOT_HOME, package_folder

BASE_DIR = env.BASE_DIR
VERSION: str = tomllib.loads((BASE_DIR / "pyproject.toml").read_text())["project"]["version"]
VAR_DIR = Path(env.text("VAR_DIR", str(BASE_DIR / "var")))

DEBUG = env.flag("DEBUG")
SECRET_KEY = env.required("SECRET_KEY")
SECRET_KEY_FALLBACKS = env.words("SECRET_KEY_FALLBACKS")
VAULT_KEYS = env.words("VAULT_KEYS")  # the engine's environment alone has them
REDIS_URL = env.redis_url()
DATABASE_URL = env.database_url()
SIGNUP = env.choice("SIGNUP", ("open", "invite", "closed"), "open")

# Where people reach this installation. An https address switches on everything that only works behind TLS.
PORT = env.number("PORT", 8000, 1, 65535)
SITE_URL = env.text("SITE_URL", f"http://localhost:{PORT}").rstrip("/")
SITE_URL_IS_SET = bool(env.text("SITE_URL"))  # only then links may leave this machine: people's opt-out links
HTTPS = SITE_URL.startswith("https://")
ALLOWED_HOSTS = env.words("ALLOWED_HOSTS", ["localhost", "127.0.0.1", "[::1]"])
if (site_host := urlsplit(SITE_URL).hostname) and site_host not in ALLOWED_HOSTS:
    ALLOWED_HOSTS.append(site_host)
CSRF_TRUSTED_ORIGINS = [*env.words("CSRF_TRUSTED_ORIGINS"), *([SITE_URL] if HTTPS else [])]

SESSIONS_DIR = Path(env.text("SESSIONS_DIR", str(VAR_DIR / "sessions")))
SIMULATOR_SOCKET = env.text("SIMULATOR_SOCKET", str(VAR_DIR / "run" / "simulator"))
SIMULATOR_CONTROL = env.text("SIMULATOR_CONTROL", str(VAR_DIR / "run" / "simulator-control"))
SIMULATOR_SEND_TIMEOUT = env.real("SIMULATOR_SEND_TIMEOUT", 75)  # seconds without an answer, then nobody knows

INSTALLED_APPS = [
    "config",
    "accounts",
    "devices",
    "campaigns",
    "monitoring",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "allauth",
    "allauth.account",
    "crispy_forms",
    "crispy_bootstrap5",
    "csp",
    "django_htmx",
    "django_rq",
    "django_structlog",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "config.security.ContentPolicyMiddleware",
    "django_permissions_policy.PermissionsPolicyMiddleware",
    "monitoring.middleware.leave_session_alone",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.auth.middleware.LoginRequiredMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_structlog.middlewares.RequestMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "config.htmx.VaryByHtmxMiddleware",
    "accounts.middleware.sign_in_again",
]

ROOT_URLCONF = "config.urls"
ASGI_APPLICATION = "config.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "builtins": ["accounts.templatetags.pieces"],
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    }
]
CRISPY_ALLOWED_TEMPLATE_PACKS = "bootstrap5"
CRISPY_TEMPLATE_PACK = "bootstrap5"

# ---- PostgreSQL: the truth

DATABASES = {"default": dj_database_url.parse(DATABASE_URL)}
# A process that forks must not pool, since its children would share the connections: asgi.py and the engine ask for
# a pool, others keep one connection.
DATABASE_POOL = env.flag("DATABASE_POOL")
DATABASES["default"] |= {"CONN_MAX_AGE": 0 if DATABASE_POOL else 60, "CONN_HEALTH_CHECKS": not DATABASE_POOL}
DATABASES["default"].setdefault("OPTIONS", {})
DATABASES["default"]["OPTIONS"] |= {
    "options": " ".join(
        f"-c {name}={env.text(name.upper(), default)}"
        for name, default in (
            ("statement_timeout", "10min"),
            ("lock_timeout", "30s"),
            ("idle_in_transaction_session_timeout", "5min"),
        )
    ),
    **({"pool": {"min_size": 1, "max_size": 20, "timeout": 5}} if DATABASE_POOL else {}),
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# ---- Redis: hints

CACHES = {
    "default": {
        "BACKEND": "config.cache.HintCache",
        "LOCATION": [REDIS_URL],
        "KEY_PREFIX": "cache",
        "OPTIONS": {
            "serializer": "config.cache.JSONSerializer",
            "socket_timeout": 2,
            "socket_connect_timeout": 2,
        },
    }
}
CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {
            # Without `socket_timeout: None` redis-py ends every subscription that is silent for 5 s; with its own
            # retries one closing socket holds the layer's lock, and with it all others, while Redis is away.
            "hosts": [
                {
                    "address": REDIS_URL,
                    "socket_timeout": None,
                    "socket_connect_timeout": 2,
                    "retry": Retry(NoBackoff(), 0),
                }
            ],
            "prefix": env.text("CHANNEL_PREFIX", "flotilla"),
        },
    }
}
RQ_QUEUES = {
    name: {
        "URL": REDIS_URL,
        "SERIALIZER": "rq.serializers.JSONSerializer",
        "DEFAULT_TIMEOUT": seconds,
    }
    for name, seconds in {"clock": 60, "planning": 600, "webhooks": 60, "imports": 3600, "exports": 3600}.items()
}
RQ = {"JOB_CLASS": "devices.jobs.AllowedJob"}
RQ_SHOW_ADMIN_LINK = False

# The only functions an RQ job may name (SECURITY 31).
JOB_FUNCTIONS = frozenset(
    {
        "accounts.jobs.forget_old_tries",
        "devices.jobs.deliver",
        "devices.jobs.look",
        "devices.jobs.forget_queues",
        "campaigns.jobs.planning.plan_campaign",
        "campaigns.jobs.planning.start_due",
        "campaigns.jobs.planning.finish",
        "campaigns.jobs.planning.watch",
        "campaigns.jobs.planning.reconcile_all",
        "campaigns.jobs.planning.climb_warm_up",
        "campaigns.jobs.meters.roll",
        "campaigns.jobs.meters.prune",
        "campaigns.jobs.moving.move_people",
        "campaigns.jobs.contacts.change_contacts",
        "campaigns.jobs.imports.run_import",
        "campaigns.jobs.doubts.settle",
        "campaigns.jobs.media.forget_unused",
        "monitoring.jobs.health.look_around",
        "monitoring.jobs.health.audit_ledger",
        "monitoring.jobs.health.tidy",
        "monitoring.jobs.alerts.tell",
    }
)

IMPORT_MAX_BYTES = env.number("IMPORT_MAX_MB", 256, 1) << 20
MEDIA_QUOTA_BYTES = env.number("MEDIA_QUOTA_MB", 500, 1) << 20  # what the files of a workspace's messages may take
MEDIA_CACHE_BYTES = env.number("MEDIA_CACHE_MB", 500, 1) << 20  # of them on the disk of each host

# ---- The engine

DRIVERS = env.words("DRIVERS", ["simulator"])
MIN_CONCURRENT_WORKERS = env.number("MIN_CONCURRENT_WORKERS", 50, 1, 100_000)
MAX_CONCURRENT_WORKERS = env.number("MAX_CONCURRENT_WORKERS", 500, 1, 100_000)
FAULT = env.text("FAULT", "")  # see devices/fault_points.py: for rehearsals with the simulator
# How long a device is away before its campaigns' policy decides whether others send for it.
FAILOVER_AFTER_S = env.number("FAILOVER_AFTER_S", 300, 1)
# When a campaign's own policy decides what becomes of messages nobody knows about.
UNCERTAIN_AFTER_S = env.number("UNCERTAIN_AFTER_S", 86_400, 1)
# How many numbers a device asks WhatsApp about in a minute, when people want to know who is there.
CHECK_NUMBERS_PER_MINUTE = env.number("CHECK_NUMBERS_PER_MINUTE", 60, 1, 10_000)
ENGINE_POLLING = env.choice("ENGINE_POLLING", ("auto", "off"), "auto")  # auto: every 5 s while Redis is away
GATEWAY_DEVICES = {
    "simulator": env.number("SIMULATOR_DEVICES", 5_000, 1),
    "whatsapp": env.number("GATEWAY_SIZE", 150, 1),
}
VAULT_EVERY_S = env.real("VAULT_EVERY_S", 21_600, 1, 30 * 86_400)  # between two copies of a session
PAIRINGS_AT_ONCE = env.number("PAIRINGS_AT_ONCE", 10, 1, 100)  # each is a gateway process of its own for minutes
# A gateway process for WhatsApp that has come to more is replaced (devices/hosting/gateways.py says why so much).
GATEWAY_MAX_MB = env.number("GATEWAY_MAX_MB", 675, 100)
GATEWAY_MAX_CYCLES = env.number("GATEWAY_MAX_CYCLES", 1_000, 1)
LEASE_TIMES = {
    "ttl": env.real("LEASE_TTL", 30),
    "renew": env.real("LEASE_RENEW", 10),
    "stop_after": env.real("LEASE_STOP_AFTER", 20),
    "exit_after": env.real("LEASE_EXIT_AFTER", 25),
    "claim_after_stop": env.real("LEASE_CLAIM_AFTER_STOP", 60),
}

# ---- Health

VERSION = tomllib.loads((BASE_DIR / "pyproject.toml").read_text())["project"]["version"]
HEALTH_EVERY_S = env.real("HEALTH_EVERY_S", 5, 0.2, 10)  # programs say that they live, and web looks at every part
METRICS_TOKEN = env.text("METRICS_TOKEN")  # who has it may read /metrics; staff may at any rate
if METRICS_TOKEN and len(METRICS_TOKEN) < 20:
    env.stop("METRICS_TOKEN must have 20 characters or more, or be empty: then staff alone may read /metrics.")
WATCHED_FOLDERS = {
    "sessions": SESSIONS_DIR,
    "files": VAR_DIR,
    "database": ROOT_HOME if os.geteuid() == 0 else VAR_DIR / "postgres",  # where ./run keeps its own
}

# ---- People

AUTH_USER_MODEL = "accounts.User"
# One backend: a second would hash a wrong password twice for some addresses and once for others.
AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "/"
ACCOUNT_ADAPTER = "accounts.adapter.AccountAdapter"
ACCOUNT_FORMS = {
    "login": "accounts.forms.SignInForm",
    "signup": "accounts.forms.SignUpForm",
    "add_email": "accounts.forms.AddAddressForm",
}
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*"]
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_EMAIL_VERIFICATION = "optional"
ACCOUNT_LOGOUT_ON_PASSWORD_CHANGE = True
ACCOUNT_DEFAULT_HTTP_PROTOCOL = "https" if HTTPS else "http"
# Our own throttle counts sign-ins in PostgreSQL, where an emptied Redis does not forget them (SECURITY 21).
ACCOUNT_RATE_LIMITS = {"login": None, "login_failed": None}
PASSWORD_RESET_TIMEOUT = 3600
# Behind a proxy everybody comes from its address, and the throttle would count all of them as one.
ALLAUTH_TRUSTED_PROXY_COUNT = env.number("TRUSTED_PROXIES", 1 if HTTPS else 0)

EMAIL_FILE_PATH = VAR_DIR / "mail"
EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
if env.text("EMAIL_URL"):
    mail = env.read("dj_email_url", "EMAIL_URL", {})
    EMAIL_BACKEND = mail["EMAIL_BACKEND"]
    EMAIL_HOST = mail["EMAIL_HOST"]
    EMAIL_PORT = mail["EMAIL_PORT"]
    EMAIL_HOST_USER = mail["EMAIL_HOST_USER"]
    EMAIL_HOST_PASSWORD = mail["EMAIL_HOST_PASSWORD"]
    EMAIL_USE_TLS = mail["EMAIL_USE_TLS"]
    EMAIL_USE_SSL = mail["EMAIL_USE_SSL"]
EMAIL_TIMEOUT = 20  # seconds: a mail server that says nothing must not keep a worker
DEFAULT_FROM_EMAIL = SERVER_EMAIL = env.text("EMAIL_FROM", "Flotilla <flotilla@localhost>")

# ---- Logs

LOG_LEVEL = env.choice("LOG_LEVEL", ("DEBUG", "INFO", "WARNING", "ERROR"), "INFO")
LOGGING = logs.logging_settings(LOG_LEVEL)
logs.configure()
DJANGO_STRUCTLOG_STATUS_START_LOG_LEVEL = logging.DEBUG  # one line a request, at its end

# ---- Time and language

TIME_ZONE = "UTC"
USE_TZ = True
LANGUAGE_CODE = "en"

# ---- Static files

STATIC_URL = "static/"
STATIC_ROOT = VAR_DIR / "static"
TABLER = package_folder("jazzy_tabler")
STATICFILES_DIRS = [BASE_DIR / "config" / "static", ("vendor/tabler", f"{TABLER}/static/vendor/tabler")]
STATIC_MANIFEST = env.flag("STATIC_MANIFEST", not DEBUG)
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": {"location": VAR_DIR / "media"}},
    "staticfiles": {
        "BACKEND": "config.static_files.HashedStorage"
        if STATIC_MANIFEST
        else "django.contrib.staticfiles.storage.StaticFilesStorage"
    },
}
WHITENOISE_USE_FINDERS = not STATIC_MANIFEST
WHITENOISE_AUTOREFRESH = not STATIC_MANIFEST  # files are found when asked for, not all of them at each start

# ---- What browsers may do

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "img-src": [SELF, "data:"],
        "object-src": [NONE],
        "base-uri": [NONE],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
    }
}
PERMISSIONS_POLICY: dict[str, list[str]] = {
    name: [] for name in ("camera", "geolocation", "microphone", "payment", "usb", "browsing-topics")
}
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
if HTTPS:
    SECURE_SSL_REDIRECT = True
    SECURE_REDIRECT_EXEMPT = [r"^(healthz|readyz)$"]  # probes come from inside, without TLS
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")  # the proxy of SECURITY 33 sets it
    SECURE_HSTS_SECONDS = env.number("HSTS_SECONDS", 31_536_000)
    SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = env.flag("HSTS_SUBDOMAINS")
