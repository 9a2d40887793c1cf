"""Workers on AWS: instances of EC2, or tasks of Fargate."""
