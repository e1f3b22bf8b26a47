"""S3, where document piles and Prefect's results can live."""

from __future__ import annotations

from typing import Any, ClassVar

from botocore.exceptions import BotoCoreError, ClientError
from prefect.blocks.core import Block
from prefect_aws import AwsCredentials
from prefect_aws.s3 import S3Bucket
from pydantic import Field

from mindset.errors import ServiceUnavailable


class ObjectStore(Block):
    """A bucket, and a prefix in it."""

    _block_type_name: ClassVar[str | None] = "Object Store"
    _block_type_slug: ClassVar[str | None] = "object-store"
    _logo_url: ClassVar[Any] = "https://cdn.simpleicons.org/minio"
    _description: ClassVar[str | None] = "A bucket in S3 or in a store that speaks its protocol."

    bucket: str = Field(description="Name of the bucket")
    prefix: str = Field(default="", description="Folder in the bucket")
    credentials: AwsCredentials = Field(default_factory=AwsCredentials, description="Empty: boto3's usual chain")

    def open(self) -> S3Bucket:
        """prefect-aws's own block, which can also be the storage of flow results."""
        return S3Bucket(bucket_name=self.bucket, bucket_folder=self.prefix, credentials=self.credentials)

    def test_connection(self) -> str:
        """That the bucket can be listed. Raises ServiceUnavailable."""
        try:
            found = self.credentials.get_s3_client().list_objects_v2(Bucket=self.bucket, Prefix=self.prefix, MaxKeys=1)
        except (BotoCoreError, ClientError) as refused:
            raise ServiceUnavailable(
                f"Bucket {self.bucket} cannot be listed: {refused}. Check its name, region and rights."
            ) from refused
        return f"{self.bucket}: {'objects found' if found.get('KeyCount') else 'empty'}"
