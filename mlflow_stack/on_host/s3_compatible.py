"""What clients of a server that speaks S3 and is not Amazon's are told beside its address, on hosts and in containers.

Such servers have a bucket's name in the path, and many do not know the checksums that boto3 sends to Amazon since 1.36
(botocore, "Data integrity protections").
"""

VARIABLES = {
    "MLFLOW_BOTO_CLIENT_ADDRESSING_STYLE": "path",
    "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
    "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required",
}
