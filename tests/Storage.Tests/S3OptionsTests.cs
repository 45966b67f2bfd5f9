// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage.Tests;

/// <summary>Where a bucket is: the environment first, then the profile, then AWS.</summary>
public sealed class S3OptionsTests
{
    private static readonly S3Profile Profile = new("site", "eu-profile", "https://profile.example:7480/");

    [Fact]
    public void WhatTheEnvironmentSays_WinsOverTheProfile()
    {
        var options = Parse(("AWS_ENDPOINT_URL", "http://environment.example"), ("AWS_DEFAULT_REGION", ""));
        Assert.Equal(("http://environment.example", "eu-profile"), (options.Endpoint, options.Region));
        options = Parse(("AWS_ENDPOINT_URL", ""), ("AWS_REGION", "eu-environment"));
        Assert.Equal(("https://profile.example:7480", "eu-environment"), (options.Endpoint, options.Region));
        Assert.True(options.PathStyle);
    }

    [Fact]
    public void ProfileThatSaysNothing_LeavesAws()
    {
        var options = S3Options.Parse("s3://bucket", _ => null, new S3Profile("default", null, null));
        Assert.Equal((null, "us-east-1", false), (options.Endpoint, options.Region, options.PathStyle));
    }

    [Fact]
    public void EndpointThatIsNone_IsRefused_AndItsSourceNamed()
    {
        var refused = Assert.Throws<FormatException>(() =>
            S3Options.Parse("s3://bucket", _ => null, Profile with { Endpoint = "profile.example" }));
        Assert.StartsWith("endpoint_url of AWS profile 'site' is 'profile.example'", refused.Message, StringComparison.Ordinal);
        refused = Assert.Throws<FormatException>(() => Parse(("AWS_ENDPOINT_URL", "environment.example")));
        Assert.StartsWith("AWS_ENDPOINT_URL is 'environment.example'", refused.Message, StringComparison.Ordinal);
    }

    private static S3Options Parse(params (string Name, string Value)[] environment) => S3Options.Parse(
        "s3://bucket", name => environment.FirstOrDefault(variable => variable.Name == name).Value, Profile);
}
