"""The settings as the type checker reads them: no server is asked, so any well-formed address will do."""

import os

os.environ.setdefault("SECRET_KEY", "types")
os.environ.setdefault("DATABASE_URL", "postgresql://flotilla@/flotilla?host=/nowhere")
os.environ.setdefault("REDIS_URL", "unix:///nowhere")

from config.settings import *  # noqa: F403
