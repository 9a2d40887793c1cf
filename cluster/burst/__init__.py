"""When work of a lane goes to a costlier cluster too: the rule, and what it would have done."""
