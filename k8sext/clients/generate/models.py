"""Let datamodel-code-generator write the classes."""

from __future__ import annotations

import ast
import re

from k8sext.clients.kubectl import UserError
from k8sext.kube.objects import Json

HEADER = '"""The types of this group. Written by `k8sext generate client`: generate again instead of changing it."""'
BASE = "k8sext.clients.runtime.Model"


def write(definitions: Json) -> str:
    """Return the text of models.py. Field names are those of manifests; what Python cannot say gets a trailing
    underscore.

    Raises UserError when a class got another name than its definition: the client would refer to nothing.
    """
    from datamodel_code_generator import InputFileType, LiteralType, PythonVersion, generate
    from datamodel_code_generator.enums import DataModelType
    from datamodel_code_generator.format import Formatter

    document = {
        "openapi": "3.0.3",
        "info": {"title": "", "version": ""},
        "paths": {},
        "components": {"schemas": definitions},
    }
    text = generate(
        document,
        input_file_type=InputFileType.OpenAPI,
        output_model_type=DataModelType.PydanticV2BaseModel,
        target_python_version=PythonVersion.PY_311,
        base_class=BASE,
        custom_file_header=HEADER,
        enum_field_as_literal=LiteralType.All,
        disable_timestamp=True,
        use_serialization_alias=True,
        use_schema_description=True,
        use_field_description=True,
        use_double_quotes=True,
        use_standard_collections=True,
        use_union_operator=True,
        use_annotated=False,
        strict_nullable=True,
        formatters=[Formatter.BUILTIN],
    )
    assert isinstance(text, str)
    written = {node.name for node in ast.parse(text).body if isinstance(node, ast.ClassDef)}
    if unknown := sorted(written ^ set(definitions)):
        raise UserError(f"The classes {', '.join(unknown)} were not written under these names: report it.")
    # One name for reading and for writing; type checkers take neither for the parameter's name, as they would `alias`.
    return re.sub(r'serialization_alias=("[^"]*")', r"validation_alias=\1, serialization_alias=\1", text)
