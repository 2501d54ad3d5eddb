"""The policy language: YAML files -> a typed Policy, or every reason why not."""
