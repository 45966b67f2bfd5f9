// SPDX-License-Identifier: Apache-2.0
using Tidemark.Storage;

namespace Tidemark.Engine.Verify;

/// <summary>Checks a repository.</summary>
internal static class VerifyRun
{
    public static Task<VerifyResult> RunAsync(
        Repository repository, VerifyLevel level, IReadOnlyList<string> points, CancellationToken cancellationToken)
    {
        _ = (repository, level, points, cancellationToken);
        throw EngineException.Failed("-");
    }
}
