"""Wrong answers to the exercises of notebook 13, each with words of the reason that the learner gets."""

_ANSWER = """
def answer(environment):
    command = environment["CNI_COMMAND"]
    if command == "VERSION":
        return {"supportedVersions": ["1.1.0"]}
    netns = environment%s
    if command == "ADD":
        return {"interfaces": [{"name": environment["CNI_IFNAME"], "sandbox": netns}]}
    if command == "DEL":
        return None
    return {"code": 4, "msg": "no such command"}
"""

WRONG = {
    "13.1": [
        (
            """
import ipaddress
def next_address(subnet, taken):
    return next(str(host) for host in ipaddress.ip_network(subnet).hosts() if str(host) not in taken)
""",
            "returns '10.9.0.1' and should return '10.9.0.2'",
        ),
        (
            'def next_address(subnet, taken): return subnet.rsplit(".", 1)[0] + "." + str(2 + len(taken))',
            "returns '10.9.0.3' and should return '10.9.0.2'",
        ),
    ],
    "13.2": [
        (_ANSWER % '["CNI_NETNS"]', "raised KeyError: 'CNI_NETNS'"),
        (_ANSWER % '.get("CNI_NETNS")', "for ADD without CNI_NETNS it answers {'interfaces'"),
        ('def answer(environment): return {"cniVersion": "1.1.0"}', "without 1.1.0 in `supportedVersions`"),
    ],
}
