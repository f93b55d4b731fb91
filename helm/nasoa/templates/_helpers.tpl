{{- define "nasoa.image" -}}
{{ $.Values.image.repository }}:{{ default $.Chart.AppVersion $.Values.image.tag }}
{{- end }}

{{- define "nasoa.podImage" -}}
{{ $.Values.podImage.repository }}:{{ default $.Chart.AppVersion $.Values.podImage.tag }}
{{- end }}

{{- define "nasoa.selector" -}}
app.kubernetes.io/name: nasoa
app.kubernetes.io/component: operator
app.kubernetes.io/instance: {{ $.Release.Name }}
{{- end }}
