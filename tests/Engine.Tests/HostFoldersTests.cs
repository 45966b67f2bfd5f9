// SPDX-License-Identifier: Apache-2.0
using Tidemark.Engine.Runs;

namespace Tidemark.Engine.Tests;

/// <summary>Where a host keeps what runs need: the environment wins over the settings, and an empty variable says nothing.</summary>
public sealed class HostFoldersTests
{
    [Theory]
    [InlineData("/state", null, null, "/state/scratch")]
    [InlineData("/state", "", "", "/state/scratch")]
    [InlineData("/state", null, "/settings", "/settings")]
    [InlineData("/state", "", "/settings", "/settings")]
    [InlineData("/state", "/variable", null, "/variable")]
    [InlineData("/state", "/variable", "/settings", "/variable")]
    public void Scratch_IsTheVariables_ThenTheSettings_ThenInTheState(string state, string? variable, string? settings, string expected)
    {
        var folders = HostFolders.Default(
            name => name == "TIDEMARK_STATE" ? state : name == "TIDEMARK_SCRATCH" ? variable : null, settings);
        Assert.Equal(new HostFolders(state, expected), folders);
    }

    [Fact]
    public void EmptyVariables_AreAsIfNotSet() => Assert.Equal(HostFolders.Default(_ => null), HostFolders.Default(_ => ""));
}
