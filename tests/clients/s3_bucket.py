"""Run by the Python of moto.txt: s3_bucket.py ENDPOINT BUCKET PREFIX FOLDER

Makes a bucket, puts the folder's files into it as `aws s3 sync` does, makes a user who may read it, prints that user's keys as JSON, and has the server
check the signature of every request from then on.
"""
import json
import pathlib
import sys
import urllib.request

import boto3

REGION = "eu-central-1"


def main():
    endpoint, bucket, prefix, folder = sys.argv[1:5]
    access = dict(endpoint_url=endpoint, region_name=REGION, aws_access_key_id="setup", aws_secret_access_key="setup")
    s3 = boto3.client("s3", **access)
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
    for path in sorted(pathlib.Path(folder).rglob("*")):
        relative = path.relative_to(folder)
        if path.is_file() and not any(part.startswith(".") for part in relative.parts):
            s3.upload_file(str(path), bucket, f"{prefix}/{relative}")
    # More keys than a page of ListObjectsV2 holds.
    for i in range(1010):
        s3.put_object(Bucket=bucket, Key=f"{prefix}/acme/aaa/notes/{i}", Body=b"")
    iam = boto3.client("iam", **access)
    iam.create_user(UserName="reader")
    allow = {"Effect": "Allow", "Action": ["s3:GetObject", "s3:ListBucket"], "Resource": "*"}
    iam.put_user_policy(UserName="reader", PolicyName="read", PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [allow]}))
    key = iam.create_access_key(UserName="reader")["AccessKey"]
    check_all = urllib.request.Request(f"{endpoint}/moto-api/reset-auth", data=b"0", headers={"Content-Type": "text/plain"})
    urllib.request.urlopen(check_all).read()
    print(json.dumps({"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"], "AWS_REGION": REGION}))


if __name__ == "__main__":
    main()
