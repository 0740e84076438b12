#!/usr/bin/python3
"""Holds configurations against a JSON Schema: schema.py SCHEMA < lines of JSON strings, each a text in YAML.

Prints a line for each: `valid`, or what is wrong and where."""

import io
import json
import sys

import jsonschema
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        schema = json.load(file)
    jsonschema.Draft7Validator.check_schema(schema)
    validator = jsonschema.Draft7Validator(schema)
    for line in sys.stdin:
        print(first_error(validator, json.loads(line)), flush=True)


def first_error(validator, text):
    try:
        # YAML 1.2, as editors have it.
        document = YAML(typ="safe", pure=True).load(io.StringIO(text))
    except (YAMLError, ValueError) as error:
        return f"no YAML: {str(error).splitlines()[0]}"
    errors = sorted(validator.iter_errors(document), key=lambda error: list(map(str, error.path)))
    if not errors:
        return "valid"
    place = "/".join(map(str, errors[0].path))
    return f"/{place}: {' '.join(errors[0].message.split())[:200]}"


main()
