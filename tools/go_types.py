"""What the published schemas do not say about the Go types behind them, and how to look it up.

The schemas (OpenAPI) tell names, types and which fields are required. Kubernetes' JSON output also depends on whether
a field is a pointer, always written, or part of an embedded struct, and error messages name Go types. These facts are
listed here by `Type.field`, where Type is the definition's last part, or `group.version.Type` where that is ambiguous.
"""

from __future__ import annotations

# Optional scalars that are pointers: an explicit zero survives. Fields whose name alone tells are listed once.
POINTER_NAMES = frozenset(
    """
    optional immutable defaultMode defaultUser mode user revisionHistoryLimit collisionCount
    progressDeadlineSeconds terminatingReplicas averageUtilization automountServiceAccountToken
    tolerationSeconds observedGeneration@HorizontalPodAutoscalerStatus blockOwnerDeletion controller@OwnerReference
    deletionGracePeriodSeconds terminationGracePeriodSeconds
    lendablePercent nominalConcurrencyShares borrowingLimitPercent ipFamilyPolicy volumeMode@PersistentVolumeSpec
    volumeAttributesClassName failurePolicy matchPolicy scope@RuleWithOperations scope@NamedRuleWithOperations
    localhostProfile restartPolicy@Container restartPolicy@EphemeralContainer recursiveReadOnly mountPropagation
    stopSignal runtimeClassName
    """.split()
)
POINTERS = frozenset(
    """
    MutatingWebhook.timeoutSeconds MutatingWebhook.reinvocationPolicy ValidatingWebhook.timeoutSeconds
    ServiceReference.port ServiceReference.path ParamRef.parameterNotFoundAction Validation.reason WebhookClientConfig.url
    DaemonSetSpec.revisionHistoryLimit DeploymentSpec.replicas ReplicaSetSpec.replicas StatefulSetSpec.replicas
    ReplicationControllerSpec.replicas RollingUpdateStatefulSetStrategy.partition
    HorizontalPodAutoscalerSpec.minReplicas HorizontalPodAutoscalerSpec.targetCPUUtilizationPercentage
    HorizontalPodAutoscalerStatus.currentCPUUtilizationPercentage HPAScalingRules.stabilizationWindowSeconds
    HPAScalingRules.selectPolicy
    CronJobSpec.failedJobsHistoryLimit CronJobSpec.startingDeadlineSeconds CronJobSpec.successfulJobsHistoryLimit
    CronJobSpec.suspend CronJobSpec.timeZone
    JobSpec.activeDeadlineSeconds JobSpec.backoffLimit JobSpec.backoffLimitPerIndex JobSpec.completions
    JobSpec.manualSelector JobSpec.maxFailedIndexes JobSpec.parallelism JobSpec.suspend JobSpec.ttlSecondsAfterFinished
    JobSpec.completionMode JobSpec.managedBy JobSpec.podReplacementPolicy JobStatus.ready JobStatus.terminating
    JobStatus.failedIndexes SuccessPolicyRule.succeededCount SuccessPolicyRule.succeededIndexes
    PodFailurePolicyOnExitCodesRequirement.containerName
    CertificateSigningRequestSpec.expirationSeconds LeaseSpec.leaseDurationSeconds LeaseSpec.leaseTransitions
    LeaseSpec.holderIdentity LeaseSpec.preferredHolder LeaseSpec.strategy
    AzureDiskVolumeSource.readOnly AzureDiskVolumeSource.cachingMode AzureDiskVolumeSource.fsType
    AzureDiskVolumeSource.kind AzureFilePersistentVolumeSource.secretNamespace CSIVolumeSource.readOnly
    CSIVolumeSource.fsType ClientIPConfig.timeoutSeconds ClusterTrustBundleProjection.name
    ClusterTrustBundleProjection.signerName ContainerStatus.started FCVolumeSource.lun
    GlusterfsPersistentVolumeSource.endpointsNamespace ISCSIVolumeSource.initiatorName
    ISCSIPersistentVolumeSource.initiatorName LocalVolumeSource.fsType
    NodeFeatures.supplementalGroupsPolicy NodeRuntimeHandlerFeatures.recursiveReadOnlyMounts
    NodeRuntimeHandlerFeatures.userNamespaces NodeSwapStatus.capacity NodeSystemInfo.runningInUserNamespace
    PodCertificateProjection.maxExpirationSeconds
    PodSecurityContext.fsGroup PodSecurityContext.runAsGroup PodSecurityContext.runAsNonRoot
    PodSecurityContext.runAsUser PodSecurityContext.fsGroupChangePolicy PodSecurityContext.seLinuxChangePolicy
    PodSecurityContext.supplementalGroupsPolicy
    PodSpec.activeDeadlineSeconds PodSpec.enableServiceLinks PodSpec.hostUsers PodSpec.priority
    PodSpec.setHostnameAsFQDN PodSpec.shareProcessNamespace PodSpec.hostnameOverride PodSpec.preemptionPolicy
    SecurityContext.allowPrivilegeEscalation SecurityContext.privileged SecurityContext.readOnlyRootFilesystem
    SecurityContext.runAsGroup SecurityContext.runAsNonRoot SecurityContext.runAsUser SecurityContext.procMount
    ServiceAccountTokenProjection.expirationSeconds ServiceSpec.allocateLoadBalancerNodePorts
    ServiceSpec.internalTrafficPolicy ServiceSpec.loadBalancerClass ServiceSpec.trafficDistribution
    TopologySpreadConstraint.minDomains TopologySpreadConstraint.nodeAffinityPolicy
    TopologySpreadConstraint.nodeTaintsPolicy WindowsSecurityContextOptions.hostProcess
    WindowsSecurityContextOptions.gmsaCredentialSpec WindowsSecurityContextOptions.gmsaCredentialSpecName
    WindowsSecurityContextOptions.runAsUserName
    EndpointAddress.nodeName EndpointPort.appProtocol GRPCAction.service HostPathVolumeSource.type
    LoadBalancerIngress.ipMode PersistentVolumeClaimSpec.storageClassName PersistentVolumeClaimSpec.volumeMode
    PersistentVolumeClaimStatus.currentVolumeAttributesClassName PodDNSConfigOption.value
    PodResourceClaim.resourceClaimName PodResourceClaim.resourceClaimTemplateName
    PodResourceClaimStatus.resourceClaimName PodSchedulingGroup.podGroupName PortStatus.error ServicePort.appProtocol
    TypedLocalObjectReference.apiGroup TypedObjectReference.apiGroup TypedObjectReference.namespace
    EndpointConditions.ready EndpointConditions.serving EndpointConditions.terminating
    discovery.v1.EndpointPort.port discovery.v1.EndpointPort.name discovery.v1.EndpointPort.protocol
    Endpoint.hostname Endpoint.nodeName Endpoint.zone NetworkPolicyPort.endPort NetworkPolicyPort.protocol
    IngressClassParametersReference.apiGroup IngressClassParametersReference.namespace
    IngressClassParametersReference.scope IngressPortStatus.error IngressSpec.ingressClassName
    HTTPIngressPath.pathType PodDisruptionBudgetSpec.unhealthyPodEvictionPolicy
    Device.allNodes Device.allowMultipleAllocations Device.bindsToNode Device.nodeName DeviceAttribute.bool
    DeviceAttribute.int DeviceAttribute.string DeviceAttribute.version DeviceRequestAllocationResult.adminAccess
    DeviceRequestAllocationResult.shareID AllocatedDeviceStatus.shareID DeviceClassSpec.extendedResourceName
    DeviceConstraint.distinctAttribute DeviceConstraint.matchAttribute ExactDeviceRequest.adminAccess
    NodeAllocatableMapping.capacityKey ResourceSliceSpec.allNodes ResourceSliceSpec.nodeName
    ResourceSliceSpec.perDeviceNodeSelection PriorityClass.preemptionPolicy
    CSIDriverSpec.attachRequired CSIDriverSpec.nodeAllocatableUpdatePeriodSeconds CSIDriverSpec.podInfoOnMount
    CSIDriverSpec.preventPodSchedulingIfMissing CSIDriverSpec.requiresRepublish CSIDriverSpec.seLinuxMount
    CSIDriverSpec.serviceAccountTokenInSecrets CSIDriverSpec.storageCapacity CSIDriverSpec.fsGroupPolicy
    StorageClass.allowVolumeExpansion StorageClass.reclaimPolicy StorageClass.volumeBindingMode
    storage.v1.TokenRequest.expirationSeconds VolumeError.errorCode VolumeNodeResources.count
    VolumeAttachmentSource.persistentVolumeName CustomResourceDefinitionVersion.deprecationWarning
    CustomResourceSubresourceScale.labelSelectorPath JSONSchemaProps.maxItems JSONSchemaProps.maxLength
    JSONSchemaProps.maxProperties JSONSchemaProps.maximum JSONSchemaProps.minItems JSONSchemaProps.minLength
    JSONSchemaProps.minProperties JSONSchemaProps.minimum JSONSchemaProps.multipleOf
    JSONSchemaProps.x-kubernetes-preserve-unknown-fields JSONSchemaProps.x-kubernetes-list-type
    JSONSchemaProps.x-kubernetes-map-type JSONSchemaProps.$ref ValidationRule.optionalOldSelf ValidationRule.reason
    ValidatingWebhook.sideEffects MutatingWebhook.sideEffects TokenRequestSpec.expirationSeconds
    BoundObjectReference.uid APIServiceSpec.insecureSkipTLSVerify DeleteOptions.gracePeriodSeconds
    DeleteOptions.orphanDependents DeleteOptions.propagationPolicy Preconditions.uid Preconditions.resourceVersion
    """.split()
)

# Structs (and quantities) held by value although the schema calls them optional: always written. Besides every
# `metadata`, `spec` and `status`.
VALUES = frozenset(
    """
    DaemonSetSpec.updateStrategy DeploymentSpec.strategy ReplicaSetSpec.template StatefulSetSpec.updateStrategy
    SelfSubjectReviewStatus.userInfo TokenReviewStatus.user Container.resources EphemeralContainer.resources
    ContainerStatus.state ContainerStatus.lastState NodeDaemonEndpoints.kubeletEndpoint NodeStatus.daemonEndpoints
    NodeStatus.nodeInfo PersistentVolumeClaimSpec.resources ServiceStatus.loadBalancer Event.source PodTemplate.template
    ResourceFieldSelector.divisor Endpoint.conditions Event.regarding Event.deprecatedSource IngressStatus.loadBalancer
    IngressServiceBackend.port NetworkPolicySpec.podSelector AllocationResult.devices ResourceClaimSpec.devices
    CustomResourceDefinitionStatus.acceptedNames ServicePort.targetPort
    """.split()
)
NOT_VALUES = frozenset(["CustomResourceSubresources.status"])

# Required, yet pointers: left out when missing.
REQUIRED_POINTERS = frozenset(
    """
    DaemonSetSpec.selector DeploymentSpec.selector ReplicaSetSpec.selector StatefulSetSpec.selector
    HTTPIngressPath.pathType ValidatingWebhook.sideEffects MutatingWebhook.sideEffects
    PodFailurePolicyRule.onExitCodes ScopedResourceSelectorRequirement.none ServiceBackendPort.none
    ResourceClaimTemplate.none IPAddressSpec.parentRef FlowSchemaSpec.none ValidatingAdmissionPolicyBindingSpec.none
    NodeConfigSource.none VolumeNodeAffinity.required PriorityLevelConfigurationSpec.none Subject.none
    CustomResourceConversion.none LimitedPriorityLevelConfiguration.none CapacityRequestPolicyRange.min
    """.split()
)

# Optional in the schema, yet always written.
ALWAYS = frozenset(
    """
    StatefulSetSpec.serviceName StatefulSetStatus.availableReplicas PodDisruptionBudgetStatus.currentHealthy
    PodDisruptionBudgetStatus.desiredHealthy PodDisruptionBudgetStatus.disruptionsAllowed
    PodDisruptionBudgetStatus.expectedPods PriorityClass.value core.v1.Event.reportingComponent
    core.v1.Event.reportingInstance EndpointSlice.endpoints EndpointSlice.ports Role.rules ClusterRole.rules
    autoscaling.v2.HorizontalPodAutoscalerStatus.currentMetrics CustomResourceDefinitionStatus.conditions
    CustomResourceDefinitionStatus.storedVersions LimitRangeSpec.limits RoleRef.apiGroup
    autoscaling.v2.HorizontalPodAutoscalerStatus.desiredReplicas
    """.split()
)

# Times held by pointer or written only when set; all other optional times are written as null.
POINTER_TIMES = frozenset(
    """
    lastScaleTime startTime completionTime lastScheduleTime lastSuccessfulTime timeAdded allocationTimestamp
    deletionTimestamp creationTimestamp lastPhaseTransitionTime renewTime acquireTime
    """.split()
)

# Fields of embedded structs: Type -> (embedded name, fields; None: all others than those after the dash).
EMBEDDED: dict[str, list[tuple[str, tuple[str, ...]]]] = {
    "Probe": [("ProbeHandler", ("exec", "httpGet", "tcpSocket", "grpc"))],
    "ConfigMapEnvSource": [("LocalObjectReference", ("name",))],
    "ConfigMapKeySelector": [("LocalObjectReference", ("name",))],
    "ConfigMapProjection": [("LocalObjectReference", ("name",))],
    "ConfigMapVolumeSource": [("LocalObjectReference", ("name",))],
    "SecretEnvSource": [("LocalObjectReference", ("name",))],
    "SecretKeySelector": [("LocalObjectReference", ("name",))],
    "SecretProjection": [("LocalObjectReference", ("name",))],
    "IngressRule": [("IngressRuleValue", ("http",))],
    "RuleWithOperations": [("Rule", ("apiGroups", "apiVersions", "resources", "scope"))],
    "NamedRuleWithOperations": [
        ("RuleWithOperations", ("operations",)),
        ("RuleWithOperations.Rule", ("apiGroups", "apiVersions", "resources", "scope")),
    ],
}
EMBEDDED_BUT = {
    "Volume": ("VolumeSource", ("name",)),
    "EphemeralContainer": ("EphemeralContainerCommon", ("targetContainerName",)),
    "PersistentVolumeSpec": (
        "PersistentVolumeSource",
        (
            "accessModes capacity claimRef mountOptions nodeAffinity persistentVolumeReclaimPolicy storageClassName"
            " volumeAttributesClassName volumeMode"
        ).split(),
    ),
}

# Named string types, for error messages.
STRING_TYPES = {
    name: names.split()
    for name, names in {
        "ServiceType": "ServiceSpec.type",
        "ServiceAffinity": "ServiceSpec.sessionAffinity",
        "IPFamily": "ServiceSpec.ipFamilies",
        "IPFamilyPolicy": "ServiceSpec.ipFamilyPolicy",
        "ServiceInternalTrafficPolicy": "ServiceSpec.internalTrafficPolicy",
        "ServiceExternalTrafficPolicy": "ServiceSpec.externalTrafficPolicy",
        "Protocol": "ServicePort.protocol ContainerPort.protocol EndpointPort.protocol NetworkPolicyPort.protocol",
        "RestartPolicy": "PodSpec.restartPolicy",
        "ContainerRestartPolicy": "Container.restartPolicy EphemeralContainer.restartPolicy",
        "DNSPolicy": "PodSpec.dnsPolicy",
        "PreemptionPolicy": "PodSpec.preemptionPolicy PriorityClass.preemptionPolicy",
        "PullPolicy": "Container.imagePullPolicy EphemeralContainer.imagePullPolicy ImageVolumeSource.pullPolicy",
        "TerminationMessagePolicy": "Container.terminationMessagePolicy EphemeralContainer.terminationMessagePolicy",
        "URIScheme": "HTTPGetAction.scheme",
        "MountPropagationMode": "VolumeMount.mountPropagation",
        "RecursiveReadOnlyMode": "VolumeMount.recursiveReadOnly",
        "TaintEffect": "Taint.effect Toleration.effect",
        "TolerationOperator": "Toleration.operator",
        "UnsatisfiableConstraintAction": "TopologySpreadConstraint.whenUnsatisfiable",
        "NodeInclusionPolicy": "TopologySpreadConstraint.nodeAffinityPolicy TopologySpreadConstraint.nodeTaintsPolicy",
        "NodeSelectorOperator": "NodeSelectorRequirement.operator",
        "LabelSelectorOperator": "LabelSelectorRequirement.operator",
        "StorageMedium": "EmptyDirVolumeSource.medium",
        "HostPathType": "HostPathVolumeSource.type",
        "PersistentVolumeAccessMode": "PersistentVolumeClaimSpec.accessModes PersistentVolumeSpec.accessModes",
        "PersistentVolumeMode": "PersistentVolumeClaimSpec.volumeMode PersistentVolumeSpec.volumeMode",
        "PersistentVolumeReclaimPolicy": "PersistentVolumeSpec.persistentVolumeReclaimPolicy StorageClass.reclaimPolicy",
        "SecretType": "Secret.type",
        "LimitType": "LimitRangeItem.type",
        "ResourceQuotaScope": "ResourceQuotaSpec.scopes ScopedResourceSelectorRequirement.scopeName",
        "ResourceName": "ResourceMetricSource.name ContainerResourceMetricSource.name",
        "MetricSourceType": "MetricSpec.type",
        "MetricTargetType": "MetricTarget.type",
        "ScalingPolicySelect": "HPAScalingRules.selectPolicy",
        "HPAScalingPolicyType": "HPAScalingPolicy.type",
        "DeploymentStrategyType": "DeploymentStrategy.type",
        "DaemonSetUpdateStrategyType": "DaemonSetUpdateStrategy.type",
        "StatefulSetUpdateStrategyType": "StatefulSetUpdateStrategy.type",
        "PodManagementPolicyType": "StatefulSetSpec.podManagementPolicy",
        "ConcurrencyPolicy": "CronJobSpec.concurrencyPolicy",
        "CompletionMode": "JobSpec.completionMode",
        "PodReplacementPolicy": "JobSpec.podReplacementPolicy",
        "PodFailurePolicyAction": "PodFailurePolicyRule.action",
        "PodFailurePolicyOnExitCodesOperator": "PodFailurePolicyOnExitCodesRequirement.operator",
        "PodConditionType": "PodFailurePolicyOnPodConditionsPattern.type PodReadinessGate.conditionType",
        "ConditionStatus": "PodFailurePolicyOnPodConditionsPattern.status",
        "PolicyType": "NetworkPolicySpec.policyTypes",
        "PathType": "HTTPIngressPath.pathType",
        "AddressType": "EndpointSlice.addressType",
        "KeyUsage": "CertificateSigningRequestSpec.usages",
        "OperationType": "RuleWithOperations.operations NamedRuleWithOperations.operations",
        "ScopeType": "RuleWithOperations.scope NamedRuleWithOperations.scope",
        "FailurePolicyType": (
            "ValidatingWebhook.failurePolicy MutatingWebhook.failurePolicy ValidatingAdmissionPolicySpec.failurePolicy"
        ),
        "MatchPolicyType": "ValidatingWebhook.matchPolicy MutatingWebhook.matchPolicy MatchResources.matchPolicy",
        "SideEffectClass": "ValidatingWebhook.sideEffects MutatingWebhook.sideEffects",
        "ResourceScope": "CustomResourceDefinitionSpec.scope",
        "PriorityLevelEnablement": "PriorityLevelConfigurationSpec.type",
        "LimitResponseType": "LimitResponse.type",
        "UnhealthyPodEvictionPolicyType": "PodDisruptionBudgetSpec.unhealthyPodEvictionPolicy",
        "VolumeBindingMode": "StorageClass.volumeBindingMode",
        "FSGroupPolicy": "CSIDriverSpec.fsGroupPolicy",
        "Capability": "Capabilities.add Capabilities.drop",
        "FinalizerName": "NamespaceSpec.finalizers",
    }.items()
}
STRING_TYPE_OF = {field: name for name, fields in STRING_TYPES.items() for field in fields}
# Types of another package than the struct that holds them.
OTHER_PACKAGE = {
    "NetworkPolicyPort.protocol": "v1",
    "ResourceMetricSource.name": "v1",
    "ContainerResourceMetricSource.name": "v1",
    "LabelSelectorRequirement.operator": "v1",
}
RESOURCE_LISTS = frozenset(
    """
    ResourceRequirements.limits ResourceRequirements.requests VolumeResourceRequirements.limits
    VolumeResourceRequirements.requests LimitRangeItem.default LimitRangeItem.defaultRequest LimitRangeItem.max
    LimitRangeItem.maxLimitRequestRatio LimitRangeItem.min NodeStatus.allocatable NodeStatus.capacity
    PersistentVolumeSpec.capacity PersistentVolumeClaimStatus.capacity ResourceQuotaSpec.hard ResourceQuotaStatus.hard
    ResourceQuotaStatus.used PodSpec.overhead Overhead.podFixed
    """.split()
)


def listed(names: frozenset[str], definition: str, field: str) -> bool:
    """Whether `Type.field` or `group.version.Type.field` is in the list."""
    parts = definition.split(".")
    return f"{parts[-1]}.{field}" in names or f"{'.'.join(parts[-3:])}.{field}" in names


def is_pointer(definition: str, field: str) -> bool:
    """Whether an optional scalar is a pointer."""
    kind = definition.rpartition(".")[2]
    return field in POINTER_NAMES or f"{field}@{kind}" in POINTER_NAMES or listed(POINTERS, definition, field)


def is_value(definition: str, field: str, *, required: bool) -> bool:
    """Whether a struct is held by value."""
    if required:
        return not listed(REQUIRED_POINTERS, definition, field)
    if listed(NOT_VALUES, definition, field):
        return False
    return field in ("metadata", "spec", "status") or listed(VALUES, definition, field)


def embedded_name(definition: str, field: str) -> str:
    """The embedded struct a field belongs to, or empty."""
    kind = definition.rpartition(".")[2]
    if kind in EMBEDDED_BUT:
        name, others = EMBEDDED_BUT[kind]
        return "" if field in others else name
    return next((name for name, fields in EMBEDDED.get(kind, []) if field in fields), "")
