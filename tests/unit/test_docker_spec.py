from __future__ import annotations

from ipaddress import IPv4Address
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from supervisor.drivers.docker.spec import Bind, CidFile, ContainerSpec, Ulimit, engine_config


def spec(**fields) -> ContainerSpec:
    return ContainerSpec(name="addon_x", image="local/x:1", **fields)


def test_a_plain_container_gets_only_what_it_needs():
    config = engine_config(spec())
    assert config["Image"] == "local/x:1"
    assert config["Labels"] == {"supervisor_managed": ""}
    assert config["HostConfig"] == {
        "NetworkMode": "hassio",
        "RestartPolicy": {"Name": "no"},
        "Init": False,
        "Privileged": False,
        "Mounts": [],
    }
    assert config["NetworkingConfig"] == {"EndpointsConfig": {"hassio": {"Aliases": []}}}
    for word in ("ExposedPorts", "Hostname", "Entrypoint", "Cmd", "User", "StopTimeout"):
        assert word not in config
    assert not config["AttachStdin"]
    assert not config["OpenStdin"]


def test_the_internal_network_is_joined_with_aliases_and_address():
    config = engine_config(
        spec(hostname="a-b", aliases=("more", "a-b"), address=IPv4Address("172.30.33.7")), network_name="other"
    )
    assert config["HostConfig"]["NetworkMode"] == "other"
    assert config["NetworkingConfig"]["EndpointsConfig"] == {
        "other": {"Aliases": ["a-b", "more"], "IPAMConfig": {"IPv4Address": "172.30.33.7"}}
    }


def test_ports_get_a_protocol_and_a_binding_on_all_addresses():
    config = engine_config(spec(network="bridge", ports={"80": 8080, "53/udp": 53}))
    assert config["ExposedPorts"] == {"80/tcp": {}, "53/udp": {}}
    assert config["HostConfig"]["PortBindings"] == {
        "80/tcp": [{"HostIp": "", "HostPort": "8080"}],
        "53/udp": [{"HostIp": "", "HostPort": "53"}],
    }


def test_the_host_network_publishes_nothing_and_joins_nothing():
    config = engine_config(spec(network="host", ports={"80": 8080}, hostname="x"))
    assert config["HostConfig"]["NetworkMode"] == "host"
    assert "PortBindings" not in config["HostConfig"]
    assert "ExposedPorts" not in config
    assert "NetworkingConfig" not in config


def test_binds_keep_order_options_and_end_with_the_id_file():
    cid = CidFile(Path("/data/cid_files/addon_x.cid"), Path("/mnt/data/cid_files/addon_x.cid"))
    mounts = engine_config(
        spec(
            binds=(
                Bind(Path("/dev"), "/dev", non_recursive_read_only=True),
                Bind(Path("/mnt/data/share"), "/share", read_only=False, propagation="rslave"),
            ),
            cid_file=cid,
        )
    )["HostConfig"]["Mounts"]
    assert mounts == [
        {
            "Type": "bind",
            "Source": "/dev",
            "Target": "/dev",
            "ReadOnly": True,
            "BindOptions": {"ReadOnlyNonRecursive": True},
        },
        {
            "Type": "bind",
            "Source": "/mnt/data/share",
            "Target": "/share",
            "ReadOnly": False,
            "BindOptions": {"Propagation": "rslave"},
        },
        {"Type": "bind", "Source": "/mnt/data/cid_files/addon_x.cid", "Target": "/run/cid", "ReadOnly": True},
    ]


def test_everything_asked_for_reaches_the_engine():
    config = engine_config(
        spec(
            environment={"A": "1", "B": None, "C": ""},
            tmpfs={"/tmp": "", "/dev/shm": "size=1m"},
            extra_hosts={"supervisor": IPv4Address("172.30.32.2")},
            dns=("172.30.32.3",),
            dns_search=("local.hass.io",),
            dns_options=("timeout:10",),
            domainname="local.hass.io",
            init=True,
            stdin=True,
            privileged=True,
            capabilities=("SYS_NICE",),
            security_opt=("seccomp=unconfined",),
            device_cgroup_rules=("c 4:64 rwm",),
            ulimits=(Ulimit("rtprio", 90, 99),),
            oom_score_adj=-300,
            pid_mode="host",
            uts_mode="host",
            cpu_rt_runtime=190000,
            restart_policy="always",
            entrypoint=(),
            command=("run", "me"),
            memory=1,
            nano_cpus=2,
            pids_limit=3,
            shm_size=4,
        )
    )
    assert config["Env"] == ["A=1", "B", "C="]
    assert (config["Entrypoint"], config["Cmd"], config["OpenStdin"]) == ([], ["run", "me"], True)
    assert config["Domainname"] == "local.hass.io"
    assert config["HostConfig"] == {
        "NetworkMode": "hassio",
        "RestartPolicy": {"Name": "always"},
        "Init": True,
        "Privileged": True,
        "Mounts": [],
        "Tmpfs": {"/tmp": "", "/dev/shm": "size=1m"},
        "ExtraHosts": ["supervisor:172.30.32.2"],
        "Dns": ["172.30.32.3"],
        "DnsSearch": ["local.hass.io"],
        "DnsOptions": ["timeout:10"],
        "CapAdd": ["SYS_NICE"],
        "SecurityOpt": ["seccomp=unconfined"],
        "DeviceCgroupRules": ["c 4:64 rwm"],
        "Ulimits": [{"Name": "rtprio", "Soft": 90, "Hard": 99}],
        "OomScoreAdj": -300,
        "PidMode": "host",
        "UTSMode": "host",
        "CpuRealtimeRuntime": 190000,
        "Memory": 1,
        "MemorySwap": 1,
        "NanoCpus": 2,
        "PidsLimit": 3,
        "ShmSize": 4,
    }


@given(st.dictionaries(st.text(min_size=1), st.none() | st.text()))
def test_each_variable_becomes_one_entry(environment):
    entries = engine_config(spec(environment=environment))["Env"]
    assert entries == [key if value is None else f"{key}={value}" for key, value in environment.items()]
