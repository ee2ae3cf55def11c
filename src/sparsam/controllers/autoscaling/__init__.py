"""HorizontalPodAutoscalers: from metrics to a number of replicas, and to the target's scale."""
