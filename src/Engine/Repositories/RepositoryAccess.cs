// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Engine.Repositories;

/// <summary>What opens a repository: a password, or the path of a key file; neither for one without encryption.</summary>
public sealed record RepositoryAccess(string? Password, string? KeyFile);

/// <summary>A repository just made.</summary>
/// <param name="Id">Its id.</param>
/// <param name="SingleWriter">Its store has no atomic create: only this host may write, and nothing is ever collected.</param>
public sealed record NewRepository(Guid Id, bool SingleWriter);

/// <summary>How a run ended, seen from outside.</summary>
public enum RunFate
{
    /// <summary>Its restore point exists.</summary>
    Committed,

    /// <summary>It can never commit.</summary>
    Revoked,

    /// <summary>The store does not answer, or holds no repository.</summary>
    Unknown,

    /// <summary>Another repository is where its own was.</summary>
    OfAnother,
}
