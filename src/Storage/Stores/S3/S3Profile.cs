// SPDX-License-Identifier: Apache-2.0
using Amazon;
using Amazon.Runtime.CredentialManagement;

namespace Tidemark.Storage;

/// <summary>What a profile in the AWS SDK's shared files says of the server.</summary>
/// <param name="Name">The profile's name.</param>
/// <param name="Region">Its <c>region</c>; null when it says none.</param>
/// <param name="Endpoint">Its <c>endpoint_url</c>; null when it says none.</param>
public sealed record S3Profile(string Name, string? Region, string? Endpoint)
{
    /// <summary>
    /// Reads the profile that AWS_PROFILE names, or "default", from ~/.aws/config and ~/.aws/credentials, or where AWS_CONFIG_FILE and
    /// AWS_SHARED_CREDENTIALS_FILE say. Files in the usual places that can't be read count as empty, also for the SDK's clients of
    /// this process, when the environment has the keys.
    /// </summary>
    /// <exception cref="StoreException">A file that is needed can't be read.</exception>
    public static S3Profile Read(Func<string, string?> environment)
    {
        bool Has(string name) => !string.IsNullOrEmpty(environment(name));

        var name = Has("AWS_PROFILE") ? environment("AWS_PROFILE")! : SharedCredentialsFile.DefaultProfileName;
        try
        {
            return new SharedCredentialsFile().TryGetProfile(name, out var profile)
                ? new S3Profile(name, profile.Region?.SystemName, profile.EndpointUrl is { Length: > 0 } url ? url : null)
                : new S3Profile(name, null, null);
        }
        catch (Exception failure) // the SDK throws whatever a line that it does not understand leads to
        {
            if (Has("AWS_CONFIG_FILE") || !(Has("AWS_ACCESS_KEY_ID") && Has("AWS_SECRET_ACCESS_KEY")))
                throw Unreadable(name, failure);
            // Each client reads them again, whatever it is given, and would fail.
            AWSConfigs.AWSProfilesLocation = "/dev/null";
            return new S3Profile(name, null, null);
        }
    }

    private static StoreException Unreadable(string name, Exception failure) =>
        new($"AWS profile '{name}' can't be read: {failure.Message.ReplaceLineEndings(" ").TrimEnd('.')}.", isTransient: false, failure)
        {
            Hint = "mend ~/.aws/config or ~/.aws/credentials, or what AWS_CONFIG_FILE and AWS_SHARED_CREDENTIALS_FILE name",
        };
}
