{{- define "penstock.name" -}}
{{- printf "%s-webhook" (.Release.Name | trunc 50 | trimSuffix "-") -}}
{{- end -}}

{{- define "penstock.selector" -}}
app.kubernetes.io/name: penstock-webhook
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "penstock.labels" -}}
{{ include "penstock.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "penstock.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{- define "penstock.host" -}}
{{ include "penstock.name" . }}.{{ .Release.Namespace }}.svc
{{- end -}}
