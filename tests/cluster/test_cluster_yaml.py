"""cluster.yaml as Ray's launcher and AWS read it, without a cloud: moto stands for EC2 and IAM."""

import json
import re
from pathlib import Path
from typing import Any

import boto3
import botocore.session
import pytest
import yaml
from botocore.validate import ParamValidator
from moto import mock_aws
from ray.autoscaler._private.aws.config import bootstrap_aws
from ray.autoscaler._private.aws.node_provider import AWSNodeProvider
from ray.autoscaler._private.util import prepare_config, validate_config

ROOT = Path(__file__).parents[2]
TAGS = {"ray-node-type": "worker", "ray-user-node-type": "gpu", "ray-node-name": "test"}


@pytest.fixture
def config() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "cluster.yaml").read_text())


def every_command(config: dict[str, Any]) -> list[str]:
    return [one for name in config if name.endswith("_commands") for one in config[name]]


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """An AWS account with what aws-account.yaml makes in it, and nothing else."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))  # Ray keeps the key pair there
    with mock_aws():
        make(yaml.safe_load((ROOT / "aws-account.yaml").read_text())["Resources"])
        yield


def make(resources: dict[str, Any]) -> None:
    """Make the template's roles, profiles and security group, as CloudFormation does."""
    iam, ec2 = boto3.client("iam"), boto3.client("ec2", region_name="us-west-2")
    region = [one for one in resources.values() if one["Type"] != "AWS::EC2::SecurityGroupIngress"]
    for one in region:
        given = {name: fill(value) for name, value in one["Properties"].items()}
        if one["Type"] == "AWS::IAM::Role":
            trust = json.dumps(given["AssumeRolePolicyDocument"])
            iam.create_role(RoleName=given["RoleName"], AssumeRolePolicyDocument=trust)
            for policy in given["Policies"]:
                document = json.dumps(policy["PolicyDocument"])
                iam.put_role_policy(
                    RoleName=given["RoleName"],
                    PolicyName=policy["PolicyName"],
                    PolicyDocument=document,
                )
        elif one["Type"] == "AWS::IAM::InstanceProfile":
            name = given["InstanceProfileName"]
            iam.create_instance_profile(InstanceProfileName=name)
            iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=given["Roles"][0])
        else:
            assert one["Type"] == "AWS::EC2::SecurityGroup"
            group = ec2.create_security_group(
                GroupName=given["GroupName"], Description=given["GroupDescription"]
            )["GroupId"]
            (ssh,) = given["SecurityGroupIngress"]
            ec2.authorize_security_group_ingress(GroupId=group, **ssh)
            among = {"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": group}]}
            ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[among])


def fill(value: Any) -> Any:
    """Return a template's value with its references filled in."""
    known = {
        "SshFrom": "203.0.113.7/32",
        "HeadRole": "hicray-head",
        "WorkerRole": "hicray-worker",
    }
    if isinstance(value, list):
        return [fill(one) for one in value]
    if not isinstance(value, dict):
        return value
    if "Ref" in value:
        return known[value["Ref"]]
    if "Fn::Sub" in value:
        return value["Fn::Sub"].replace("${Bucket}", "lab")
    if "Fn::GetAtt" in value:
        return f"arn:aws:iam::123456789012:role/{known[value['Fn::GetAtt'][0]]}"
    return {name: fill(one) for name, one in value.items()}


def test_the_launcher_accepts_it(config):
    validate_config(prepare_config(config))


def test_nothing_is_left_to_the_launcher_s_defaults(config):
    """They install a nightly Ray, and open the dashboard to the world."""
    prepared = prepare_config(config)
    assert set(every_command(prepared)) == set(every_command(config))
    assert not re.search(r"ray-wheels|\.whl|0\.0\.0\.0|pip install", str(prepared))


def test_ray_is_of_the_lock_s_version(config):
    assert any("make -C ~/hicray install" in command for command in config["setup_commands"])
    install = (ROOT / "Makefile").read_text()
    assert "install: $(READY)" in install
    assert "--requirement requirements.lock" in install
    (locked,) = re.findall(r"^ray==(\S+)$", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    assert f"ray[data,default,train,tune]=={locked}" in (ROOT / "pyproject.toml").read_text()


def test_what_listens_is_on_loopback_or_behind_the_token(config):
    (head,) = [one for one in config["head_start_ray_commands"] if "ray start" in one]
    (server,) = [one for one in config["head_start_ray_commands"] if "mlflow server" in one]
    assert "--dashboard-host=127.0.0.1" in head
    assert "pkill -f '[r]ay.util.client.server'" in head
    assert "--host 127.0.0.1" in server
    # Read by the shell of each start command, on head and workers.
    assert any("export RAY_AUTH_MODE=token" in command for command in config["setup_commands"])
    assert any("~/.hicray_env' >> ~/.bashrc" in command for command in config["setup_commands"])
    assert config["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"
    assert "chmod 600 ~/.ray/auth_token" in config["setup_commands"]


def test_one_line_names_the_storage(config):
    lines = [one for one in every_command(config) if "s3://" in one]
    assert lines == ["echo 'export HICRAY_STORAGE=s3://YOUR-BUCKET/hicray' > ~/.hicray_env"]


def test_mounted_files_are_there(config):
    for there, here in config["file_mounts"].items():
        assert here.startswith("~") or (ROOT / here).exists(), there


def test_machines_are_requests_that_ec2_understands(config):
    """The launcher looks at no key below node_config."""
    session = botocore.session.get_session()
    shape = session.get_service_model("ec2").operation_model("RunInstances").input_shape
    assert shape is not None
    validator = ParamValidator()
    for kind in config["available_node_types"].values():
        request = {"MinCount": 1, "MaxCount": 1, **kind["node_config"]}
        assert not validator.validate(request, shape).has_errors()
    request["InstanceTipe"] = request.pop("InstanceType")
    assert validator.validate(request, shape).has_errors()


def test_every_cent_is_bounded(config):
    assert config["provider"]["cache_stopped_nodes"] is False
    workers = {k: v for k, v in config["available_node_types"].items() if k != "head"}
    assert all(kind["min_workers"] == 0 for kind in workers.values())
    assert sum(kind["max_workers"] for kind in workers.values()) == config["max_workers"]
    assert config["idle_timeout_minutes"] <= 10
    spot = [kind["node_config"]["InstanceMarketOptions"]["MarketType"] for kind in workers.values()]
    assert spot == ["spot", "spot"]
    assert "hicray.cluster.spot" in config["worker_start_ray_commands"][-1]


def test_ray_s_own_aws_code_makes_a_closed_cluster(config, account):
    ready = bootstrap_aws(
        AWSNodeProvider.fillout_available_node_types_resources(prepare_config(config))
    )
    kinds = ready["available_node_types"]
    profiles = {name: kind["node_config"]["IamInstanceProfile"] for name, kind in kinds.items()}
    worker = {"Name": "hicray-worker"}
    assert profiles == {"head": {"Name": "hicray-head"}, "gpu": worker, "cpu": worker}
    (group,) = {tuple(kind["node_config"]["SecurityGroupIds"]) for kind in kinds.values()}
    rules = boto3.client("ec2", region_name="us-west-2").describe_security_groups(
        GroupIds=list(group)
    )["SecurityGroups"][0]["IpPermissions"]
    ssh, among = sorted(rules, key=lambda rule: rule["IpProtocol"], reverse=True)
    assert [one["CidrIp"] for one in ssh["IpRanges"]] == ["203.0.113.7/32"]
    assert (ssh["FromPort"], ssh["ToPort"]) == (22, 22)
    assert [one["GroupId"] for one in among["UserIdGroupPairs"]] == list(group)
    assert not among["IpRanges"]
    assert kinds["gpu"]["resources"]["GPU"] == 1
    assert kinds["head"]["resources"]["CPU"] == 0


def test_a_worker_is_launched_as_spot_with_its_own_role(config, account):
    ready = bootstrap_aws(prepare_config(config))
    provider = AWSNodeProvider(ready["provider"], "hicray")
    kind = ready["available_node_types"]["gpu"]["node_config"]
    (made,) = provider.create_node(kind, TAGS, 1).values()
    assert made.instance_type == "g6.2xlarge"
    assert made.iam_instance_profile["Arn"].endswith("/hicray-worker")
    assert made.instance_lifecycle == "spot"
    assert {"Key": "ray-cluster-name", "Value": "hicray"} in made.tags
