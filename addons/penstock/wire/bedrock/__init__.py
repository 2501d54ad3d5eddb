"""Amazon Bedrock's APIs, one file each."""
