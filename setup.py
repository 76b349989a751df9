"""What pyproject.toml cannot say: the bundled checkpoints travel inside the package, as fer/_checkpoints."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["fer", "fer.*"]), "fer._checkpoints"],
    package_dir={"fer._checkpoints": "checkpoints"},
    package_data={"fer.emoji": ["*.png", "OFL.txt"], "fer._checkpoints": ["*/*"]},
)
