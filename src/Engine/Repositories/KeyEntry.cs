// SPDX-License-Identifier: Apache-2.0
using System.Text.Json.Serialization;

namespace Tidemark.Engine.Repositories;

/// <summary>A key slot as users see it.</summary>
/// <param name="Slot">Its name.</param>
/// <param name="Role"><c>full</c>, <c>maintenance</c>, <c>domain</c>, or <c>unknown</c> for one of a later program.</param>
/// <param name="Kind">What opens it.</param>
/// <param name="Label">A word for people.</param>
/// <param name="Created">When.</param>
/// <param name="Domain">The key domain it opens; null when that is not one alone.</param>
public sealed record KeyEntry(
    string Slot, string Role, string Kind, string Label, DateTimeOffset Created,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] string? Domain);

/// <summary>A key to add.</summary>
/// <param name="Access">What will open the repository too; a key file that does not exist is made.</param>
/// <param name="IsMaintenance">It opens no guest data.</param>
/// <param name="Domain">It opens guest data of this key domain only; null for all.</param>
/// <param name="Label">A word for people.</param>
public sealed record NewKeyRequest(RepositoryAccess Access, bool IsMaintenance, string? Domain, string Label);
