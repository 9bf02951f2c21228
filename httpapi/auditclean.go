package httpapi

import (
	"reflect"
	"regexp"
	"strings"
)

// maxAudited bounds each text in a line of the audit log.
const maxAudited = 512 // bytes

// secrets are the forms in which secrets come where they don't belong, as in a
// name or a reason: tokens, of which the id may stay, invitations, ID tokens, and
// the passwords in URLs.
var secrets = []struct {
	form *regexp.Regexp
	as   string
}{
	{regexp.MustCompile(`(?i)\b(rn_[a-z2-7]{12}_)[a-z0-9]+`), "${1}[redacted]"},
	{regexp.MustCompile(`(?i)\brnj1_[a-z0-9_-]+`), "rnj1_[redacted]"},
	{regexp.MustCompile(`\beyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_.-]+`), "[redacted]"},
	{regexp.MustCompile(`://[^/@\s]*@`), "://[redacted]@"},
	{regexp.MustCompile(`(?i)\b(basic|bearer)[ +][a-z0-9+/=._~-]+`), "${1} [redacted]"},
}

// withoutSecrets returns a text without what looks like a secret.
func withoutSecrets(s string) string {
	for _, secret := range secrets {
		s = secret.form.ReplaceAllString(s, secret.as)
	}
	return s
}

// cleaned returns a with texts that are printable, no longer than maxAudited, and
// hold nothing that looks like a secret.
func (a Audit) cleaned() Audit {
	for _, v := range reflect.ValueOf(&a).Elem().Fields() {
		if v.Kind() == reflect.String && v.Len() > 0 {
			v.SetString(auditText(v.String()))
		}
	}
	return a
}

func auditText(s string) string {
	s = clipTo(s, 4*maxAudited) // the rest is of no interest, and long ones take long
	s = strings.Map(printable, strings.ToValidUTF8(s, "?"))
	return clipTo(withoutSecrets(s), maxAudited)
}
