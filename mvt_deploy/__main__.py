"""``python -m mvt_deploy`` is ``mvt-deploy``."""

from .cli.main import run

if __name__ == "__main__":
    run()
