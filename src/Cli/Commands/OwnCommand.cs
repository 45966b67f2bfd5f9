// SPDX-License-Identifier: Apache-2.0
using Tidemark.Engine;

namespace Tidemark.Cli.Commands;

/// <summary>How to start this very program again.</summary>
internal static class OwnCommand
{
    /// <exception cref="EngineException">The path of this program is unknown.</exception>
    public static IReadOnlyList<string> Words
    {
        get
        {
            var self = Environment.ProcessPath
                ?? throw EngineException.Failed("The path of this program cannot be found, so no guardian can be started.");
            return Path.GetFileNameWithoutExtension(self) == "dotnet"
                ? [self, "exec", Path.Combine(AppContext.BaseDirectory, "tidemark.dll")]
                : [self];
        }
    }
}
