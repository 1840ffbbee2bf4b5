import json

import pytest
from jsonschema import Draft202012Validator

from edgeweave.partition.files.table_json import SCHEMA


@pytest.fixture(scope="module")
def schema():
    validator = Draft202012Validator(json.loads(SCHEMA.read_text("utf-8")))
    validator.check_schema(validator.schema)
    return validator
