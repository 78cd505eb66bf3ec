// handlers.go: the table of the endpoints that there are.

package registration

// endpoints are all that there are. Each is one value in a file of its own, made
// for a configuration.
var endpoints = []func(*webRealm) *endpoint{
	endpointRegister, endpointVerifyRegistration, endpointResendVerification,
	endpointLogin, endpointLogout, endpointRefreshToken, endpointSessions, endpointRevokeSession,
	endpointProfile, endpointChangePassword, endpointSendResetPasswordLink, endpointResetPassword,
	endpointRegisterEmail, endpointVerifyEmail, endpointUndoEmail,
	endpointOpenAPI, endpointJWKS,
}
