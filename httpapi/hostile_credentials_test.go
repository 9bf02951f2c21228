package httpapi_test

import (
	"encoding/base64"
	"strings"
)

// credentials are an administrator's token where none belongs, or not as it is.
func (h *hostile) credentials() (all []attack) {
	_, token, _ := strings.Cut(h.shown[admin], " ")
	b64 := base64.StdEncoding.EncodeToString
	last := token[:len(token)-1] + string("ab"[b2i(token[len(token)-1] == 'a')])
	id := strings.LastIndex(token, "_")
	add := func(target string, header ...string) {
		for i := range header {
			header[i] += "\r\n"
		}
		all = append(all, attack{request: plain("GET", target, "", header...), want: "401", public: true})
	}
	for _, param := range []string{"token", "access_token", "api_key", "key", "authorization", "Authorization", "private_token", "user"} {
		add("/api/v1/repos?" + param + "=" + token)
	}
	for _, header := range []string{
		"Cookie: token=", "Cookie: Authorization=Bearer ", "X-Api-Key: ", "X-Token: ", "X-Auth-Token: ", "Private-Token: ", "X-Art-Token: ", "X-Jfrog-Art-Api: ", "X-Jfrog-Art-Api: Bearer ", "Proxy-Authorization: Bearer ", "X-Authorization: Bearer ",
		"X-Forwarded-User: admin\r\nX-Token: ", "X-Remote-User: admin\r\nX-Token: ", "X-Forwarded-Authorization: Bearer ", // where none belongs
		"Authorization: ", "Authorization: Token ", "Authorization: Digest ", "Authorization: Negotiate ", "Authorization: Bearer:", "Authorization: Bearer,", "Authorization: Bearer\t", "Authorization: Basic ", "Authorization: Bearer Bearer ",
	} {
		add("/api/v1/log", header+token)
	}
	for _, t := range []string{
		token[:len(token)-1], token[1:], token[:id], last, strings.ToUpper(token), token + "a", token + ",", token + " x", `"` + token + `"`, token[:id+1] + strings.Repeat("a", 59), "rn_" + token[3:4] + "zzzzzzzzzzz" + token[id:],
	} {
		add("/api/v1/log", "Authorization: Bearer "+t)
	}
	for _, headers := range [][]string{
		{"X-Jfrog-Art-Api: " + last}, {"X-Jfrog-Art-Api: Bearer " + token}, {"X-Jfrog-Art-Api: " + b64([]byte("admin:"+token))}, {"X-Jfrog-Art-Api: " + token, "X-Jfrog-Art-Api: " + token},
		{"X-Jfrog-Art-Api: " + token, "Authorization: Bearer " + token}, {"X-Jfrog-Art-Api: " + last, "Authorization: Bearer " + token},
		{"Authorization: Bearer eyJhbGciOiJub25lIn0." + b64([]byte(`{"sub":"admin"}`)) + "."}, {"Authorization: Bearer a.b." + last}, {"Authorization: Bearer a.b.c." + token}, {"Authorization: Bearer " + token + ".b.c"},
	} {
		add("/artifactory/api/repositories/team-a", headers...)
	}
	add("/api/v1/log", "Authorization: Bearer "+token, "Authorization: Bearer "+token)
	add("/api/v1/log", "Authorization: Basic "+b64([]byte("admin:"+token)), "Authorization: Bearer "+token)
	add("/api/v1/log", "Authorization: Basic "+b64([]byte("admin:"+last)))
	add("/api/v1/log", "Authorization: Basic "+b64([]byte("admin "+token)))
	return all
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}
