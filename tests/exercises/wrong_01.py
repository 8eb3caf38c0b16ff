"""Wrong answers to the exercises of notebook 01, each with words of the reason that the learner gets."""

WRONG = {
    "01.1": [
        ('families = {"shorter command": "controllers"}', "only the people who type it are concerned"),
        ('families = {"shorter command": "plugins"}', "'plugins' is none of access, clients"),
        (
            'families = {"shorter command": "clients", "kind Buoy": "types", "nightly backup": "controllers", '
            '"no :latest images": "scheduling"}',
            "a request is to be refused before the object is stored",
        ),
    ],
    "01.2": [
        ('def answered_by(apiservice): return apiservice["spec"]["service"]["name"]', "raised KeyError: 'service'"),
        (
            'def answered_by(apiservice): return apiservice["spec"].get("service", {}).get("name", "the API server")',
            "returns 'stations' and should return 'weather/stations'",
        ),
    ],
}
